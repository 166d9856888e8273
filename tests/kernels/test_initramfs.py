"""Tests of the archive that a kernel boots with."""

import io
import subprocess
import sys
from pathlib import Path

from tests.kernels.initramfs import Archive, list_files


def test_archive_is_read_by_another_program(tmp_path: Path) -> None:
    file = io.BytesIO()
    archive = Archive(file)
    archive.add("/a/b/odd", b"12345", 0o755)
    archive.add("/a/empty", b"", 0o644)
    archive.close()
    command = ["busybox", "cpio", "-i", "-d"]
    subprocess.run(command, input=file.getvalue(), cwd=tmp_path, check=True)
    assert (tmp_path / "a/b/odd").read_bytes() == b"12345"
    assert (tmp_path / "a/b/odd").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "a/empty").read_bytes() == b""


def test_it_holds_python_the_package_and_what_both_are_linked_to() -> None:
    names = dict(list_files())
    assert str(Path(sys.executable).resolve()) in names
    assert "/packages/ebpf_net/collectors/kernel/kernel.bpf.o" in names
    assert "/packages/tests/kernels/guest.py" in names
    assert any(name.endswith("/libc.so.6") for name in names)
