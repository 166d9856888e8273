"""A file system for a kernel to boot with: this Python, the package, and the tests."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("numpy", "numpy.libs", "cffi", "pycparser", "_cffi_backend*.so")
LEFT_OUT = {
    *("__pycache__", "site-packages", "dist-packages", "test", "tests"),
    *("idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "pydoc_data"),
}
RESULTS = "/dev/ttyS1"

_INIT = f"""#!/bin/busybox sh
bb=/bin/busybox
$bb mount -t proc proc /proc
$bb mount -t sysfs sysfs /sys
$bb mount -t devtmpfs devtmpfs /dev
$bb mount -t tmpfs tmpfs /tmp
$bb mkdir -p /dev/shm
$bb mount -t tmpfs tmpfs /dev/shm
$bb mount -t bpf bpf /sys/fs/bpf
$bb mount -t cgroup2 cgroup2 /sys/fs/cgroup
$bb ip link set lo up
cd /packages
export PYTHONPATH=/packages PYTHONUTF8=1
{{python}} -B -m tests.kernels.guest >{RESULTS}
$bb poweroff -f
"""


def write_initramfs(path: Path) -> None:
    """Write all that ``tests.kernels.guest`` needs, as the kernel unpacks it."""
    files = dict(list_files())
    python = Path(sys.executable).resolve()
    with path.open("wb") as file:
        archive = Archive(file)
        for directory in ("proc", "sys", "dev", "tmp"):
            archive.add_directory(f"/{directory}")
        archive.add("/init", _INIT.format(python=python).encode(), 0o755)
        for name, source in sorted(files.items()):
            mode = stat.S_IMODE(source.stat().st_mode)
            archive.add(name, source.read_bytes(), mode)
        archive.close()


def list_files() -> Iterator[tuple[str, Path]]:
    """What is in it, and the file that it is taken from."""
    python = Path(sys.executable).resolve()
    busybox = Path("/bin/busybox")
    yield str(python), python
    yield str(busybox), busybox.resolve()
    found = [python]
    library = Path(sysconfig.get_path("stdlib"))
    for name, source in _tree(library, library):
        found.append(source)
        yield name, source
    installed = Path(sysconfig.get_path("platlib"))
    for pattern in PACKAGES:
        for top in installed.glob(pattern):
            for name, source in _tree(top, installed):
                found.append(source)
                yield f"/packages{name.removeprefix(str(installed))}", source
    for name, source in _tree(ROOT / "src" / "ebpf_net", ROOT / "src"):
        found.append(source)
        yield f"/packages{name.removeprefix(str(ROOT / 'src'))}", source
    for part in ("__init__.py", "bpf", "world", "kernels"):
        for name, source in _tree(ROOT / "tests" / part, ROOT):
            yield f"/packages{name.removeprefix(str(ROOT))}", source
    for library in _shared_libraries(found):
        if not library.is_relative_to(installed):
            yield str(library), library.resolve()


def _tree(top: Path, base: Path) -> Iterator[tuple[str, Path]]:
    paths = [top] if top.is_file() else sorted(top.rglob("*"))
    for path in paths:
        left_out = LEFT_OUT & set(path.relative_to(base).parts[1:-1])
        if path.is_file() and not left_out and path.suffix not in (".pyc", ".a"):
            yield str(path), path


def _shared_libraries(files: list[Path]) -> set[Path]:
    """What the dynamic linker will look for, for all of them together."""
    libraries = [path for path in files if ".so" in path.name or path == files[0]]
    done = subprocess.run(
        ["ldd", *map(str, libraries)], capture_output=True, text=True, check=False
    )
    return {Path(found) for found in re.findall(r"(/[^\s:]+) \(0x", done.stdout)}


class Archive:
    """A cpio archive in the one form that kernels read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._count = 0
        self._directories: set[str] = {"/"}

    def add(self, name: str, data: bytes, mode: int) -> None:
        """Add a file, and the directories above it."""
        self.add_directory(str(Path(name).parent))
        self._write(name, stat.S_IFREG | mode, data)

    def add_directory(self, name: str) -> None:
        """Add a directory and those above it, unless they are there."""
        if name in self._directories:
            return
        self.add_directory(str(Path(name).parent))
        self._directories.add(name)
        self._write(name, stat.S_IFDIR | 0o755, b"")

    def close(self) -> None:
        """Write the end."""
        self._write("TRAILER!!!", 0, b"")

    def _write(self, name: str, mode: int, data: bytes) -> None:
        self._count += 1
        path = name.lstrip("/").encode() + b"\0"
        links = 2 if stat.S_ISDIR(mode) else 1
        fields = [self._count, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0]
        fields += [len(path), 0]
        header = b"070701" + b"".join(b"%08X" % field for field in fields)
        self._file.write(_padded(header + path) + _padded(data))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
