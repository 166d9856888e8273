"""Compile libbpf from its release in third_party/, and a linker of BPF objects.

The same version on every distribution; needs cc and libelf-dev, no make.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RELEASE = "libbpf-1.5.0"
SHA256 = "53492aff6dd47e4da04ef5e672d753b9743848bdb38e9d90eafbe190b7983c44"
RECIPE = b"".join(
    (ROOT / "bpf" / name).read_bytes() for name in ("libbpf.py", "link.c")
)
BUILT = ROOT / "build" / f"{RELEASE}-{hashlib.sha256(RECIPE).hexdigest()[:8]}"
"""Another recipe, another directory: what is there needs no second look."""
INCLUDE = BUILT / "include"
"""Has ``bpf/``, and the kernel's ``linux/bpf.h`` and ``btf.h`` of the same time."""
ARCHIVE = BUILT / "libbpf.a"
LINKER = BUILT / "link"
"""Takes the object to write and the one to read, as ``bpftool gen object`` does."""

FLAGS = (
    *("-O2", "-fPIC", "-fvisibility=hidden", "-w"),
    *("-D_LARGEFILE64_SOURCE", "-D_FILE_OFFSET_BITS=64"),
)


class LibbpfError(Exception):
    """The release is damaged, or a tool is missing or refused it."""


def build_libbpf() -> None:
    """Write ``BUILT``, unless it is there."""
    if BUILT.is_dir():
        return
    BUILT.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILT.parent) as scratch:
        made = Path(scratch) / RELEASE
        _unpack(Path(scratch) / "source")
        _compile(Path(scratch) / "source" / RELEASE, made)
        if not BUILT.is_dir():
            made.rename(BUILT)


def _unpack(directory: Path) -> None:
    path = ROOT / "third_party" / f"{RELEASE}.tar.gz"
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise LibbpfError(f"{path} is not the release: its SHA-256 is another")
    with tarfile.open(path) as release:
        # Ubuntu 22.04's Python 3.11.0 has no filters yet; later ones warn without.
        release.extraction_filter = getattr(tarfile, "data_filter", None)
        release.extractall(directory)


def _compile(source: Path, target: Path) -> None:
    for origin, name in (("src", "bpf"), ("include/uapi/linux", "linux")):
        headers = target / "include" / name
        headers.mkdir(parents=True)
        for header in (source / origin).glob("*b[pt]f*.h"):
            shutil.copy(header, headers)
    includes = [f"-I{source}/{name}" for name in ("src", "include", "include/uapi")]
    files = sorted((source / "src").glob("*.c"))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        commands = [[*_compiler(), *includes, "-c", str(file)] for file in files]
        list(pool.map(lambda command: _call(command, source), commands))
    objects = [f"{file.stem}.o" for file in files]
    archive = target / ARCHIVE.name
    _call([_tool("ar"), "rcs", str(archive), *objects], source)
    link = [
        *(*_compiler(), f"-I{target}/include", str(ROOT / "bpf" / "link.c")),
        *(str(archive), "-lelf", "-lz", "-o", str(target / LINKER.name)),
    ]
    _call(link, source)


def _compiler() -> list[str]:
    return [_tool(os.environ.get("CC", "cc").split()[0]), *FLAGS]


def _call(command: list[str], directory: Path) -> None:
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise LibbpfError(f"{' '.join(command)}\n{done.stderr}{done.stdout}")


def _tool(name: str) -> str:
    found = shutil.which(name)
    if not found:
        raise LibbpfError(f"{name} is not installed: scripts/install installs it")
    return found


if __name__ == "__main__":
    build_libbpf()
