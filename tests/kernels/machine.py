"""A kernel in an emulator, from boot to what the checks in it said."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

MEMORY_MIB = 3072
BOOT_FLAGS = "console=ttyS0 quiet panic=-1 rdinit=/init"


class BootError(Exception):
    """The kernel came to no end, or said nothing that can be read."""


def run_kernel(
    image: Path, initramfs: Path, boot_flags: str, timeout_seconds: float
) -> dict[str, object]:
    """Boot it, wait until it is off, and return what ``guest`` wrote."""
    with tempfile.TemporaryDirectory(prefix="ebpf-net-kernel-") as scratch:
        results = Path(scratch) / "results"
        console = Path(scratch) / "console"
        command = [
            *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max"),
            *("-smp", "2", "-m", str(MEMORY_MIB), "-nographic", "-nodefaults"),
            *("-no-reboot", "-net", "none", "-kernel", str(image)),
            *("-initrd", str(initramfs), "-append", f"{BOOT_FLAGS} {boot_flags}"),
            *("-serial", f"file:{console}", "-serial", f"file:{results}"),
        ]
        try:
            subprocess.run(
                command, stdin=subprocess.DEVNULL, timeout=timeout_seconds, check=True
            )
            document = json.loads(results.read_text())
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            tail = "\n".join(_lines(console)[-30:])
            raise BootError(f"{image.name}: {error}\n{tail}") from error
    if not isinstance(document, dict):
        raise BootError(f"{image.name}: said {document!r}")
    return document


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines() if path.exists() else []
