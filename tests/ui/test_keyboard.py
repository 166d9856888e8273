import os
import pty
import termios

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.ui.keyboard import CbreakMode, KeyDecoder


@pytest.fixture
def terminal():
    master, slave = pty.openpty()
    yield master, slave
    os.close(master)
    os.close(slave)


def test_the_terminal_is_put_back_as_it_was(terminal):
    _, slave = terminal
    before = termios.tcgetattr(slave)
    with CbreakMode(slave):
        inside = termios.tcgetattr(slave)
    assert termios.tcgetattr(slave) == before
    assert not inside[3] & (termios.ECHO | termios.ICANON)
    assert inside[3] & termios.ISIG
    assert inside[6][termios.VSUSP] == b"\x00"


def test_the_terminal_is_put_back_after_an_error(terminal):
    _, slave = terminal
    before = termios.tcgetattr(slave)
    with pytest.raises(ZeroDivisionError), CbreakMode(slave):
        raise ZeroDivisionError
    assert termios.tcgetattr(slave) == before


def test_keys_come_one_by_one(terminal):
    master, slave = terminal
    with CbreakMode(slave):
        os.write(master, b"b/")
        assert KeyDecoder().feed(os.read(slave, 10)) == ["b", "/"]


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"", []),
        (b"\x1b", ["\x1b"]),
        (b"\x1b[A\x1b[1;5Cq\x1bOP", ["q"]),
        ("ü".encode(), ["ü"]),
        (b"\xff", ["\ufffd"]),
    ],
)
def test_sequences_of_function_keys_are_passed_over(data, keys):
    assert KeyDecoder().feed(data) == keys


def test_a_character_may_come_in_two_reads():
    decoder = KeyDecoder()
    assert decoder.feed(b"\xc3") == []
    assert decoder.feed(b"\xbc") == ["ü"]


@given(st.lists(st.binary()))
def test_any_bytes_are_taken(reads):
    decoder = KeyDecoder()
    for data in reads:
        assert all(len(key) == 1 for key in decoder.feed(data))
