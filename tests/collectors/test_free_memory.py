import subprocess
import sys
from pathlib import Path

import pytest

from ebpf_net.collectors import free_memory


def resident_kib():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1])
    return 0


@pytest.mark.skipif(free_memory._MALLOC_TRIM is None, reason="not the GNU C library")
def test_memory_that_is_free_is_returned():
    pieces = [bytearray(50_000) for _ in range(2000)]
    kept = pieces[-1]  # at the top of the heap: what is below stays without our call
    full = resident_kib()
    del pieces
    free_memory.return_free_memory()
    assert len(kept) == 50_000
    assert resident_kib() < full - 50_000


def test_another_c_library_does_no_harm(monkeypatch):
    monkeypatch.setattr(free_memory, "_MALLOC_TRIM", None)
    free_memory.return_free_memory()


HEAPS = """
import sys, threading
from pathlib import Path
from ebpf_net.collectors.free_memory import share_heap
if sys.argv[1:]:
    share_heap()
def work():
    pieces = [bytearray(2000) for _ in range(50)]
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
# A heap of a thread reserves 64 MiB.
sizes = [line.split()[0].split("-") for line in Path("/proc/self/maps").open()]
print(len({int(end, 16) >> 26 for start, end in sizes if int(start, 16) % 2**26 == 0}))
"""


@pytest.mark.skipif(free_memory._MALLOC_TRIM is None, reason="not the GNU C library")
def test_threads_share_a_heap_when_asked():
    apart, shared = (
        int(subprocess.check_output([sys.executable, "-c", HEAPS, *arguments]))
        for arguments in ((), ("shared",))
    )
    assert shared == 0 < apart
