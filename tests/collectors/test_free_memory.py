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
