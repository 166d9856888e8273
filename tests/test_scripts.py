"""What the scripts do where a machine lacks something."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A directory of programs for somebody who is not root."""
    _add_program(tmp_path, "id", "echo 1000")
    return tmp_path


def _add_program(directory: Path, name: str, text: str) -> None:
    path = directory / name
    path.write_text(f"#!{shutil.which('bash')}\n{text}\n")
    path.chmod(0o755)


def _as_root(programs: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(shutil.which("bash")), ROOT / "scripts" / "as-root", *command],
        env={"PATH": str(programs)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_root_and_without_sudo_it_says_so_in_one_line(programs: Path) -> None:
    done = _as_root(programs, "true")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_without_root_it_takes_sudo_which_must_not_ask_nobody(programs: Path) -> None:
    _add_program(programs, "sudo", 'echo "$@"; exit 7')
    done = _as_root(programs, "true", "two words")
    assert done.returncode == 7
    assert done.stdout == "--preserve-env --non-interactive true two words\n"


def test_as_root_it_is_in_nobodys_way(programs: Path) -> None:
    _add_program(programs, "id", "echo 0")
    _add_program(programs, "answer", 'echo "$#"; exit 3')
    done = _as_root(programs, "answer", "two words")
    assert (done.returncode, done.stdout) == (3, "1\n")


def test_third_party_says_where_its_archive_comes_from() -> None:
    (archive,) = (ROOT / "third_party").glob("*.tar.gz")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert digest in (ROOT / "bpf" / "libbpf.py").read_text()
    assert archive.name in (ROOT / "third_party" / "README.md").read_text()
