from ebpf_net.collectors.kubernetes.address_rows import Holder, address_row
from ebpf_net.collectors.row_spans import RowSpans

SPANS = RowSpans("kubernetes_addresses")
_, ROW = address_row(Holder("pod", "u", 100), "10.0.0.1")


def test_the_first_end_stays():
    ended = SPANS.with_end(ROW, 200)
    assert ended[6] == 200
    assert SPANS.has_ended(ended)
    assert SPANS.with_end(ended, 300) == ended


def test_an_end_is_after_the_start():
    assert SPANS.with_end(ROW, 5)[6] == 101


def test_the_first_start_stays():
    later = (*ROW[:5], 150, *ROW[6:])
    assert SPANS.with_start(later, ROW, 500, moved=False) == ROW


def test_an_address_that_is_back_starts_again():
    assert SPANS.with_start(ROW, SPANS.with_end(ROW, 200), 500, moved=False)[5:7] == (
        500,
        0,
    )


def test_an_address_in_place_of_another_starts_now():
    assert SPANS.with_start(ROW, None, 500, moved=True)[5] == 500
    assert SPANS.with_start(ROW, None, 500, moved=False)[5] == 100
