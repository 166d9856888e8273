import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from ebpf_net.schema import InternalPoint, Window
from ebpf_net.testing.windows import make_level, make_window
from ebpf_net.ui.live_table import LiveTable, is_live_terminal

PROGRAM = Path(__file__).with_name("live_table_program.py")
DEADLINE_SECONDS = 30.0


class Terminal:
    """A program on a pseudo-terminal of its own."""

    def __init__(self, *arguments, **environment):
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            # Not as in a shell's background, where Ctrl-C is ignored.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            environment = {"TERM": "xterm-256color", **environment}
            command = [sys.executable, str(PROGRAM), *arguments]
            os.execve(sys.executable, command, environment)
        self.output = ""

    def read_until(self, pattern):
        end = time.monotonic() + DEADLINE_SECONDS
        while not re.search(pattern, self.output):
            ready, _, _ = select.select([self.master], [], [], end - time.monotonic())
            assert ready, f"{pattern!r} is not in {self.output!r}"
            self.output += os.read(self.master, 1 << 16).decode()

    def send(self, keys):
        os.write(self.master, keys)

    def local_flags(self):
        return termios.tcgetattr(self.master)[3]

    def wait(self):
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def start():
    terminals = []

    def start_terminal(*arguments, **environment):
        terminals.append(Terminal(*arguments, **environment))
        return terminals[-1]

    yield start_terminal
    for terminal in terminals:
        os.close(terminal.master)


@pytest.mark.parametrize(
    ("arguments", "ending"),
    [
        ((), lambda terminal: terminal.send(b"q")),
        ((), lambda terminal: terminal.send(b"\x03")),
        ((), lambda terminal: os.kill(terminal.pid, signal.SIGTERM)),
        (["--do-not-close"], lambda terminal: terminal.send(b"\x03")),
    ],
    ids=["q", "Ctrl-C", "SIGTERM", "not closed"],
)
def test_whatever_ends_it_the_terminal_is_put_back(start, arguments, ending):
    terminal = start(*arguments)
    before = terminal.local_flags()
    terminal.read_until(r"\x1b\[\?1049h(?s:.*)\x1b\[\?25l(?s:.*)sshd")
    assert not terminal.local_flags() & (termios.ECHO | termios.ICANON)
    ending(terminal)
    terminal.read_until(r"\x1b\[\?25h(?s:.*)\x1b\[\?1049l(?s:.*)sshd")
    assert terminal.local_flags() == before
    assert terminal.wait() == 0


@pytest.mark.parametrize(
    ("environment", "expected"), [({}, True), ({"NO_COLOR": "1"}, False)]
)
def test_no_color_is_honoured(start, environment, expected):
    terminal = start(**environment)
    terminal.read_until(r"10\.0\.0\.3")
    terminal.send(b"q")
    terminal.read_until("ended")
    colours = re.findall(r"\x1b\[[\d;]*3[0-7]m", terminal.output)
    assert bool(colours) is expected
    assert terminal.wait() == 0


@pytest.fixture
def tmux(tmp_path):
    socket = str(tmp_path / "tmux")

    def run(*arguments):
        command = ["tmux", "-S", socket, "-f", "/dev/null", *arguments]
        return subprocess.run(
            command, check=True, capture_output=True, text=True
        ).stdout

    command = f"{sys.executable} {PROGRAM}; sleep 100"
    run("new-session", "-d", "-x", "80", "-y", "10", command)
    yield run
    run("kill-server")


def wait_for(tmux, pattern):
    end = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < end:
        screen = tmux("capture-pane", "-p")
        if re.search(pattern, screen, re.MULTILINE):
            return screen.splitlines()
    raise AssertionError(f"{pattern!r} is not in {screen!r}")


def test_keys_and_size_change_the_screen(tmux):
    screen = wait_for(tmux, "by bytes(?s:.*)sshd")
    assert screen[1] == "collectors: 1  lost: 0  by bytes"
    assert "n" in screen[3]
    assert "sshd" in screen[4]

    tmux("send-keys", "f")
    screen = wait_for(tmux, "by failures")
    assert screen[2].split()[-1] == "fail"
    assert "sshd" in screen[3]

    tmux("send-keys", "/")
    tmux("send-keys", "-l", "ssx")
    tmux("send-keys", "BSpace")
    screen = wait_for(tmux, "find: ss▏")
    assert screen[4] == ""
    tmux("send-keys", "Enter")
    wait_for(tmux, "find: ss$")
    tmux("send-keys", "Escape")
    wait_for(tmux, "by failures$")

    tmux("send-keys", "?")
    wait_for(tmux, "sort by bytes")
    tmux("send-keys", "x")

    tmux("send-keys", "Space")
    paused = wait_for(tmux, "PAUSED")
    assert wait_for(tmux, "PAUSED")[3] == paused[3]
    tmux("send-keys", "Space")
    wait_for(tmux, "by failures$")

    tmux("resize-window", "-x", "120", "-y", "20")
    screen = wait_for(tmux, "min  retr   new   act  fail$")
    assert len(screen) == 20

    tmux("send-keys", "q")
    wait_for(tmux, "^ended$")


def window_of(number, count):
    nodes = [{"process.name": "a", "ip": "1.1.1.1"}, {"ip": "2.2.2.2"}]
    level = make_level(nodes, [{"source": 0, "dest": 1, "opened": count}])
    return make_window({"id_id": level}, number * 10**10)


def wait_until(condition):
    end = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def printed(*windows):
    output = io.StringIO()
    table = LiveTable(lambda: None, output=output, keys=io.StringIO())
    table.export_internal([InternalPoint("ebpf_net.connections", 1.0)], 0)
    told = []
    for window in windows:
        table.export(window, told.append)
    table.start()
    wait_until(lambda: " new " in output.getvalue())
    table.close(10)
    return output.getvalue(), told


def test_without_a_terminal_each_window_is_printed_as_a_table():
    text, told = printed(window_of(1, 3))
    assert text.splitlines()[3].split()[-3:] == ["3", "0", "0"]
    assert "\x1b" not in text
    assert told == [True]


def test_what_comes_late_is_added_to_the_newest_window_only():
    text, told = printed(window_of(2, 3), window_of(2, 4), window_of(1, 100))
    assert "7 new" in text
    assert told == [True, True, True]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (
            make_window({"id_id": make_level([], [{"dest": 7}])}, 1),
            "a window cannot be shown",
        ),
        (Window(1, 1, window_of(0, 0).levels), "a window cannot be drawn"),
    ],
)
def test_a_broken_window_does_not_end_the_table(broken, message, caplog):
    output = io.StringIO()
    table = LiveTable(lambda: None, output=output, keys=io.StringIO())
    table.export(broken, lambda delivered: None)
    table.start()
    wait_until(lambda: message in caplog.messages)
    table.export(window_of(1, 3), lambda delivered: None)
    wait_until(lambda: "3 new" in output.getvalue())
    table.close(10)
    assert caplog.messages == [message]


def test_a_window_without_pairs_is_given_up():
    told = []
    table = LiveTable(lambda: None, output=io.StringIO(), keys=io.StringIO())
    table.export(Window(1, 2, {}), told.append)
    assert told == [False]
    assert table.metrics() == []


def test_a_pipe_is_no_live_terminal():
    assert not is_live_terminal(io.StringIO())
