"""Debian's kernels, from the mirror that apt is set to."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.world.cache import build_once, cache_directory

SUITES = {"5.10": "bullseye", "6.1": "bookworm", "6.12": "trixie"}
"""The suite that has each kernel."""

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_KERNEL = "linux-image-cloud-amd64"


class Suite:
    """One release of Debian, with package lists of its own."""

    def __init__(self, name: str) -> None:
        self._apt = cache_directory() / "apt" / name
        for directory in ("lists/partial", "archives/partial"):
            (self._apt / directory).mkdir(parents=True, exist_ok=True)
        (self._apt / "status").touch()
        mirrors = _configured_mirrors()
        archives = (("Debian", name), ("Debian-Security", f"{name}-security"))
        if any(label not in mirrors for label, _ in archives):
            raise LookupError("apt has no mirror of Debian and of its security archive")
        lines = [
            f"deb [signed-by={_KEYRING}] {mirrors[label]} {suite} main"
            for label, suite in archives
        ]
        (self._apt / "sources.list").write_text("\n".join(lines) + "\n")

    def fetch_kernel(self) -> Path:
        """Return the boot image of its newest kernel."""
        self._run("apt-get", "-q", "update")
        described = self._run("apt-cache", "show", "--no-all-versions", _KERNEL)
        depends = re.search(
            r"^Depends:.*?(linux-image-[^ ,]+)", described, re.MULTILINE
        )
        if not depends:
            raise LookupError(f"{_KERNEL} names no kernel:\n{described}")
        package = depends[1]
        version = self._run("apt-cache", "show", "--no-all-versions", package)
        (number,) = re.findall(r"^Version: (.*)$", version, re.MULTILINE)
        name = f"{package}_{number}".replace(":", "_")
        directory = build_once(name, lambda target: self._unpack(package, target))
        (image,) = directory.glob("boot/vmlinuz-*")
        return image

    def _unpack(self, package: str, target: Path) -> None:
        self._run("apt-get", "-q", "download", package, directory=target)
        (archive,) = target.glob("*.deb")
        reading = subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE
        )
        subprocess.run(
            ["tar", "-x", "-C", target, "--wildcards", "./boot/vmlinuz-*"],
            stdin=reading.stdout,
            check=True,
        )
        if reading.wait() != 0:
            raise OSError(f"{archive} is damaged")
        archive.unlink()

    def _run(self, *command: str, directory: Path | None = None) -> str:
        options = {
            "Dir::State::lists": self._apt / "lists",
            "Dir::State::status": self._apt / "status",
            "Dir::Cache": self._apt,
            "Dir::Etc::sourcelist": self._apt / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "Acquire::Languages": "none",
            "APT::Sandbox::User": "root",
        }
        flags = [f"--option={key}={value}" for key, value in options.items()]
        done = subprocess.run(
            [command[0], *flags, *command[1:]],
            cwd=directory,
            env={**os.environ, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise OSError(f"{' '.join(command)}:\n{done.stderr}{done.stdout}")
        return done.stdout


def _configured_mirrors() -> dict[str, str]:
    """Where this machine's apt has Debian from, by the archive's label."""
    form = "$(ORIGIN) $(LABEL) $(REPO_URI)"
    command = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
    listing = subprocess.run(command, capture_output=True, text=True, check=True)
    words = [line.split() for line in listing.stdout.splitlines()]
    return {each[1]: each[2] for each in words if each[0] == "Debian"}
