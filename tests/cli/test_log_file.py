import logging
import subprocess
import sys
from pathlib import Path

from ebpf_net.cli.log_file import SharedLogFile

WRITER = """
import logging, sys
from pathlib import Path
from ebpf_net.cli.log_file import SharedLogFile
handler = SharedLogFile(Path(sys.argv[1]), 4096, 9)
logging.basicConfig(level=logging.INFO, handlers=[handler], format="%(message)s")
for number in range(200):
    logging.info("%s %03d", sys.argv[2], number)
"""


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("x", logging.INFO, "", 0, text, None, None)


def lines_of(directory: Path) -> list[str]:
    files = sorted(directory.glob("log*"))
    return [line for file in files for line in file.read_text().splitlines()]


def test_programs_that_share_a_file_lose_no_line(tmp_path: Path):
    # 800 lines of 24 bytes: four files and a part of a fifth, of ten that are kept
    names = [letter * 19 for letter in "abcd"]
    arguments = [sys.executable, "-c", WRITER, str(tmp_path / "log")]
    writers = [subprocess.Popen([*arguments, name]) for name in names]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    assert sorted(lines_of(tmp_path)) == [
        f"{name} {number:03}" for name in names for number in range(200)
    ]
    assert len(list(tmp_path.glob("log*"))) > 1
    # each of the others may have seen room for one line more
    most = 4096 + 3 * 24
    assert all(file.stat().st_size <= most for file in tmp_path.glob("log.*"))


def test_file_that_was_moved_away_is_made_anew(tmp_path: Path):
    path = tmp_path / "log"
    handler = SharedLogFile(path, 4096, 1)
    handler.emit(record("one"))
    path.rename(tmp_path / "kept")
    handler.emit(record("two"))
    handler.close()
    assert (tmp_path / "kept").read_text() == "one\n"
    assert path.read_text() == "two\n"


def test_file_that_cannot_be_renamed_goes_on(tmp_path: Path):
    path = tmp_path / "log"
    (tmp_path / "log.1" / "in the way").mkdir(parents=True)
    handler = SharedLogFile(path, 20, 1)
    for text in ("first line", "second line", "third line"):
        handler.emit(record(text))
    handler.close()
    assert path.read_text() == "first line\nsecond line\nthird line\n"
