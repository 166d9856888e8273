from __future__ import annotations

from ebpf_net.reducer.sources import Source, superseded_sources


def test_process_is_superseded_when_the_next_has_told_of_a_window_since():
    def superseded(*sources: Source) -> list[int]:
        return sorted(superseded_sources(dict(enumerate(sources))))

    former = Source("a", first=1, last=7)
    assert superseded(former, Source("a", last=7)) == []  # has not told anything
    assert superseded(former, Source("a", first=7, last=7)) == []
    assert superseded(former, Source("a", first=7, last=8)) == [0]
    assert superseded(former, Source("b", first=7, last=8)) == []
    # Two that run at once, as of a copied machine.
    assert superseded(former, Source("a", first=2, last=7)) == []
