"""Images for the pods of tests, made without a registry."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path

from tests.world.kubernetes_programs import dns_program, traffic_program

IMAGE = "docker.io/library/ebpf-net-test:1.0"
PAUSE_IMAGE = "docker.io/library/ebpf-net-pause:1.0"
DNS_IMAGE = "docker.io/library/ebpf-net-dns:1.0"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_PROGRAM = "bin/ebpf-net-test"


def write_images(directory: Path) -> list[Path]:
    """Write the archives of both images, as ``docker save`` would."""
    full = {_PROGRAM: traffic_program(), "bin/busybox": Path("/bin/busybox")}
    pause = {_PROGRAM: traffic_program()}
    command = f"/{_PROGRAM}"
    return [
        write_image(directory / "test.tar", IMAGE, full, [command]),
        write_image(directory / "pause.tar", PAUSE_IMAGE, pause, [command, "wait"]),
    ]


def write_dns_image(directory: Path) -> Path:
    """Write the archive of CoreDNS' image; its first call builds CoreDNS."""
    files = {"bin/coredns": dns_program()}
    return write_image(directory / "dns.tar", DNS_IMAGE, files, ["/bin/coredns"])


def write_image(
    archive: Path, name: str, files: dict[str, Path], entrypoint: list[str]
) -> Path:
    """Write an image of one layer with these files, by their paths inside."""
    layer = _make_layer(files)
    configuration = {
        "architecture": _ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {"Entrypoint": entrypoint, "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{_digest(layer)}"]},
    }
    text = json.dumps(configuration).encode()
    manifest = [
        {
            "Config": f"{_digest(text)}.json",
            "RepoTags": [name],
            "Layers": ["layer.tar"],
        }
    ]
    with tarfile.open(archive, "w") as image:
        _add(image, f"{_digest(text)}.json", text)
        _add(image, "layer.tar", layer)
        _add(image, "manifest.json", json.dumps(manifest).encode())
    return archive


def _make_layer(files: dict[str, Path]) -> bytes:
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        for directory in ("bin", "etc", "tmp", "proc", "sys", "dev"):
            entry = tarfile.TarInfo(directory)
            entry.type = tarfile.DIRTYPE
            entry.mode = 0o755
            archive.addfile(entry)
        for name, path in files.items():
            _add(archive, name, path.read_bytes(), 0o755)
        if "bin/busybox" in files:
            _link(archive, "bin/sh", "busybox")
    return layer.getvalue()


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    entry.mode = mode
    archive.addfile(entry, io.BytesIO(data))


def _link(archive: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type = tarfile.SYMTYPE
    entry.linkname = target
    archive.addfile(entry)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
