"""Which BPF programs, maps and links a process holds, and whether they still exist."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import re
from pathlib import Path

_SYSCALL = {"x86_64": 321, "aarch64": 280}[platform.machine()]
_GET_FD_BY_ID = {"prog": 13, "map": 14, "link": 30}  # enum bpf_cmd

BpfObject = tuple[str, int]
"""Its kind (prog, map or link) and its number in the kernel."""


def held_by(pid: int) -> set[BpfObject]:
    """Return what the process has open."""
    found = set()
    for file in Path(f"/proc/{pid}/fdinfo").iterdir():
        text = file.read_text()
        for kind in _GET_FD_BY_ID:
            match = re.search(rf"^{kind}_id:\s*(\d+)$", text, re.MULTILINE)
            if match and not (kind == "prog" and "link_id" in text):
                found.add((kind, int(match[1])))
    return found


def exists(item: BpfObject) -> bool:
    """Ask the kernel whether it still has this object."""
    kind, number = item
    attributes = (ctypes.c_uint32 * 3)(number, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    found: int = libc.syscall(
        _SYSCALL, _GET_FD_BY_ID[kind], ctypes.byref(attributes), 12
    )
    if found >= 0:
        os.close(found)
        return True
    if ctypes.get_errno() != errno.ENOENT:
        raise OSError(ctypes.get_errno(), f"cannot look up {item}")
    return False
