"""The reference table of hosts: one row, this one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_ROOT = Path("/")
_MACHINE_IDS = ("etc/machine-id", "var/lib/dbus/machine-id")

Table = dict[str, npt.NDArray[Any] | Sequence[str]]


@dataclass(frozen=True)
class HostLabels:
    """What the user says about this host; empty where nothing was said."""

    host: str = ""
    namespace: str = ""
    environment: str = ""
    service: str = ""
    zone: str = ""


@dataclass(frozen=True)
class Host:
    """One row of ``schema.HOSTS``."""

    host_id: str
    host_name: str
    machine_id: str
    boot_id: str
    kernel_release: str
    architecture: str
    labels: HostLabels = HostLabels()

    def columns(self) -> Table:
        """Return the row as columns."""
        return {
            "host_id": [self.host_id],
            "host_name": [self.host_name],
            "machine_id": [self.machine_id],
            "boot_id": [self.boot_id],
            "namespace": [self.labels.namespace],
            "environment": [self.labels.environment],
            "service": [self.labels.service],
            "zone": [self.labels.zone],
            "kernel_release": [self.kernel_release],
            "architecture": [self.architecture],
            "removed": np.zeros(1, np.bool_),
        }


def read_host(
    labels: HostLabels,
    host_dir: Path | None = None,
    proc: Path = Path("/proc"),
) -> Host:
    """Read who this host is; files below ``host_dir`` go first when it is given."""
    system = os.uname()
    bases = [host_dir, _ROOT] if host_dir else [_ROOT]
    name = _first_line([base / "etc/hostname" for base in bases]) or system.nodename
    boot_id = _first_line([proc / "sys/kernel/random/boot_id"])
    machine_id = _first_line([base / path for base in bases for path in _MACHINE_IDS])
    return Host(
        host_id=labels.host or name,
        host_name=name,
        machine_id=machine_id or boot_id.replace("-", ""),
        boot_id=boot_id,
        kernel_release=system.release,
        architecture=system.machine,
        labels=labels,
    )


def _first_line(paths: Sequence[Path]) -> str:
    for path in paths:
        try:
            lines = path.read_text(errors="replace").splitlines()
        except OSError:
            continue
        if lines and lines[0].strip():
            return lines[0].strip()
    return ""
