import socket
from pathlib import Path

from ebpf_net.collectors.kernel.source import KernelSource, SourceOptions
from tests.bpf.watch import Watch, is_client

RING_BYTES = 1 << 18  # no multiple of the 152 bytes of a record and its header
CONNECTIONS = 1500  # whose records need more than that


def test_records_are_whole_where_the_ring_begins_anew() -> None:
    options = SourceOptions(udp=False, ring_bytes=RING_BYTES)
    with (
        KernelSource(options) as source,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        watch = Watch(source)
        port = listener.getsockname()[1]
        for number in range(CONNECTIONS):
            with socket.create_connection(("127.0.0.1", port)) as client:
                server, _ = listener.accept()
                client.sendall(bytes(number + 1))
                client.shutdown(socket.SHUT_WR)
                while server.recv(1 << 16):
                    pass
                server.close()
            if number % 50 == 0:
                watch.drain()
        watch.wait_closed(port, CONNECTIONS)
        assert source.losses()["ring_full"] == 0
    records = watch.records
    ours = records[(records["local_port"] == port) & ~is_client(records)]
    expected = list(range(1, CONNECTIONS + 1))
    assert sorted(ours["bytes_received"].tolist()) == expected
    assert set(ours["comm"].tolist()) == {
        Path("/proc/self/comm").read_bytes().rstrip(b"\n")
    }


def test_ring_is_mapped_once() -> None:
    def mapped_bytes() -> int:
        lines = Path("/proc/self/maps").read_text().splitlines()
        places = [line.split()[0].split("-") for line in lines if "bpf-map" in line]
        return sum(int(end, 16) - int(start, 16) for start, end in places)

    before = mapped_bytes()
    with KernelSource(SourceOptions(udp=False, ring_bytes=RING_BYTES)):
        assert RING_BYTES <= mapped_bytes() - before < 2 * RING_BYTES
