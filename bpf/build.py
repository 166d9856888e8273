"""Compile the BPF programs into one object file.

``python bpf/build.py OUTPUT [ARCH]``; needs clang and what libbpf.py needs, no make and
no headers of the running kernel.
"""

from __future__ import annotations

import platform
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
TARGETS = {"x86_64": "x86", "aarch64": "arm64", "riscv64": "riscv", "s390x": "s390"}


class BuildError(Exception):
    """A tool is missing or refused the source."""


def build(output: Path, arch: str | None = None) -> None:
    """Write the object for ``arch`` (default: this machine's), with BTF."""
    machine = arch or platform.machine()
    if machine not in TARGETS:
        raise BuildError(f"architecture is '{machine}', expected one of {TARGETS}")
    output.parent.mkdir(parents=True, exist_ok=True)
    libbpf = runpy.run_path(str(SOURCE / "libbpf.py"))
    libbpf["build_libbpf"]()
    unlinked = output.with_name(output.name + ".unlinked")
    compiler = [*_compiler(), f"-I{libbpf['INCLUDE']}"]
    _run([*compiler, f"-D__TARGET_ARCH_{TARGETS[machine]}"], unlinked)
    # A pass through the linker drops DWARF and what BTF says twice.
    _call([str(libbpf["LINKER"]), str(output), str(unlinked)])
    unlinked.unlink()


def _compiler() -> list[str]:
    return [
        _tool("clang"),
        *("-g", "-O2", "-target", "bpf", "-mcpu=v3", "-std=gnu11"),
        *("-Wall", "-Werror", "-Wno-unused-function"),
        f"-I{SOURCE}",
    ]


def _run(command: list[str], output: Path) -> None:
    source = SOURCE / "kernel.bpf.c"
    _call([*command, "-c", str(source), "-o", str(output)])


def _call(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{' '.join(command)}\n{done.stderr}{done.stdout}")


def _tool(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if not found:
        raise BuildError(f"{name} is not installed: apt-get install clang")
    return found


if __name__ == "__main__":
    build(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
