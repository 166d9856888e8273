import subprocess
import sys

SCRIPT = """
import logging, sys
from ebpf_net.cli.logs import configure_logging
from ebpf_net.settings import load
configure_logging(load("reducer", sys.argv[1:], environment={}), "reducer")
logging.getLogger("ebpf_net.x").info("hello")
logging.getLogger("ebpf_net.x").debug("detail")
"""


def log(*arguments):
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        capture_output=True,
        text=True,
        check=True,
    ).stderr


def test_console_and_file_get_what_the_level_asks(tmp_path):
    file = tmp_path / "log"
    console = log("--log-console", "--log-file-path", str(file), "--debug")
    assert console == file.read_text()
    assert [line.split(" ", 1)[1] for line in console.splitlines()] == [
        "INFO ebpf_net.x: hello",
        "DEBUG ebpf_net.x: detail",
    ]


def test_unwritable_log_file_is_said_and_not_fatal(tmp_path):
    console = log("--log-file-path", str(tmp_path / "no" / "log"))
    assert "cannot log to" in console


def test_nothing_on_the_console_unless_asked(tmp_path):
    assert log("--log-file-path", str(tmp_path / "log")) == ""
