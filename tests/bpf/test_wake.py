import socket
import threading
import time

from ebpf_net.collectors.kernel.source import KernelSource, SourceOptions


def connect(count: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(count):
            client = socket.create_connection(listener.getsockname())
            server, _ = listener.accept()
            client.close()
            server.close()


def test_reader_sleeps_below_the_watermark_and_wakes_at_it() -> None:
    # 152 bytes a record, two records a connection.
    with KernelSource(SourceOptions(udp=False, wake_bytes=152 * 400)) as source:
        source.wait(0)  # the first call tells of what is there already
        source.drain()
        connect(10)
        assert not source.wait(50)
        traffic = threading.Thread(target=connect, args=(300,))
        started = time.monotonic()
        traffic.start()
        assert source.wait(20_000)
        assert time.monotonic() - started < 10
        traffic.join()
        assert len(source.drain()) >= 400


def test_wait_comes_back_without_traffic() -> None:
    with KernelSource(SourceOptions(udp=False)) as source:
        started = time.monotonic()
        source.wait(0)
        source.wait(100)
        assert time.monotonic() - started < 5
