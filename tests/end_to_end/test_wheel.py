"""The wheel on a machine that has no compiler."""

import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_BUILD = "import sys; from setuptools import build_meta as b; print(b.{}(sys.argv[1]))"


def _build(source: Path, kind: str, directory: Path) -> Path:
    arguments = [sys.executable, "-c", _BUILD.format(kind), directory]
    done = subprocess.run(
        arguments, cwd=source, capture_output=True, text=True, check=True
    )
    return directory / done.stdout.splitlines()[-1]


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """The wheel, built from what the source distribution brings along."""
    copy = tmp_path / "copy"
    subprocess.run(["git", "clone", "-q", ROOT, copy], check=True)
    archive = _build(copy, "build_sdist", tmp_path)
    with tarfile.open(archive) as sources:
        sources.extraction_filter = getattr(tarfile, "data_filter", None)
        sources.extractall(tmp_path / "sources")
    (source,) = (tmp_path / "sources").iterdir()
    return _build(source, "build_wheel", tmp_path)


def test_it_is_one_wheel_for_all_python_versions(wheel: Path) -> None:
    assert wheel.name.startswith("ebpf_net-0.1.0-cp311-abi3-linux_")


def test_it_brings_the_licences_of_what_is_linked_in(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as files:
        names = {Path(name).name for name in files.namelist()}
    linked = {path.name for path in (ROOT / "third_party").glob("*.LICENSE")}
    assert len(linked) == 4
    assert linked <= names


def test_installed_without_a_compiler_it_loads_its_programs(
    wheel: Path, tmp_path: Path
) -> None:
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = [environment / "bin" / "pip", "install", "--quiet", "--no-deps"]
    lock = ROOT / "requirements.lock"
    subprocess.run([*pip, "--require-hashes", "-r", lock], check=True)
    subprocess.run([*pip, wheel], check=True)
    done = subprocess.run(
        [environment / "bin" / "ebpf-net", "preflight", "--output", "json"],
        cwd=tmp_path,
        env={"PATH": str(environment / "bin"), "EBPF_NET_NO_LOG_FILE": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    signals = {item["signal"]: item["available"] for item in json.loads(done.stdout)}
    assert signals["tcp.state"]
    assert signals["translations"]
