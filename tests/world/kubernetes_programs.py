"""Kubernetes as released, and a traffic program for its pods, built from Go modules."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from tests.world.cache import build_once
from tests.world.go import run_go

_MODULE = Path(__file__).with_name("kubernetes")
_VERSION_VARIABLE = "k8s.io/component-base/version.gitVersion"


def kubernetes_program(name: str) -> Path:
    """Return an executable, such as kubelet; built at the first call on a machine."""
    version = kubernetes_version()
    sources = [_MODULE / "go.mod", _MODULE / "go.sum", *_MODULE.glob("kube*/main.go")]
    flags = f"-s -w -X {_VERSION_VARIABLE}={version}"
    return _build(f"kubernetes-{version}", _MODULE, sources, flags) / name


def kubernetes_version() -> str:
    """Return the version, such as v1.36.3."""
    text = (_MODULE / "go.mod").read_text()
    version = re.search(r"k8s\.io/kubernetes (v\S+)", text)
    assert version
    return version[1]


def traffic_program() -> Path:
    """Return the static executable that pods run: TCP and UDP of exact numbers."""
    module = _MODULE / "traffic"
    return _build("kubernetes-traffic", module, module.glob("*"), "-s -w") / "traffic"


def dns_program() -> Path:
    """Return CoreDNS, a static executable."""
    module = _MODULE / "coredns"
    return _build("coredns", module, module.glob("*"), "-s -w") / "coredns"


def build_programs() -> None:
    """Build all of them, if they are not there yet."""
    kubernetes_program("kubelet")
    traffic_program()
    dns_program()


def _build(name: str, module: Path, sources: Iterable[Path], flags: str) -> Path:
    digest = hashlib.sha256(flags.encode())
    for source in sorted(sources):
        digest.update(source.read_bytes())

    def build(directory: Path) -> None:
        out = directory / "out"
        out.mkdir()
        options = ("-p", "3", "-trimpath", "-ldflags", flags)
        run_go(module, "build", *options, "-o", out, "./...")

    return build_once(f"{name}-{digest.hexdigest()[:12]}", build) / "out"
