from functools import reduce

import pytest

from ebpf_net.ui.view_state import BACKSPACE, CLEAR, ENTER, ESCAPE, ViewState


def press(*keys, state=None):
    return reduce(ViewState.press, keys, state or ViewState())


@pytest.mark.parametrize(
    ("key", "order"),
    [
        ("b", "bytes"),
        ("p", "packets"),
        ("r", "rtt"),
        ("t", "retransmits"),
        ("n", "new"),
        ("a", "active"),
        ("f", "failures"),
    ],
)
def test_a_letter_chooses_the_order(key, order):
    assert press(key) == ViewState(order=order)


def test_a_filter_is_typed_and_entered():
    typing = press("/", "n", "q", BACKSPACE, "x", " ", "?")
    assert typing == ViewState(filter="nx ?", is_typing=True)
    assert typing.press(ENTER) == ViewState(filter="nx ?")
    assert typing.press(CLEAR) == ViewState(is_typing=True)
    assert typing.press(ESCAPE) == ViewState()
    assert typing.press("\x01") == typing


def test_escape_takes_the_filter_away():
    assert press("/", "n", ENTER, "r", ESCAPE) == ViewState(order="rtt")


def test_a_filter_has_a_bounded_length():
    assert len(press("/", *"x" * 300).filter) == 200


def test_space_pauses_and_goes_on():
    assert press(" ") == ViewState(is_paused=True)
    assert press(" ", " ") == ViewState()


def test_any_key_leaves_the_help():
    assert press("?") == ViewState(shows_help=True)
    assert press("?", "b") == ViewState()
    assert press("?", "q") == ViewState(quits=True)


def test_q_quits():
    assert press("q").quits
    assert not press("/", "q").quits


def test_other_keys_do_nothing():
    assert press("x", "\n", "\x00", "B") == ViewState()
