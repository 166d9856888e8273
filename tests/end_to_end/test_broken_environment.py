"""A broken environment gets one clear line and exit code 1."""

import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.world.hosts import cgroup_root
from tests.world.ports import free_port
from tests.world.system import System, command


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    errors: list[str]


def _run(directory: Path, arguments: Sequence[str | Path], **environment: str) -> Ended:
    done = subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "EBPF_NET_DATA_DIR": str(directory / "data"),
            "EBPF_NET_NO_LOG_FILE": "true",
            **environment,
        },
    )
    return Ended(done.returncode, done.stderr.splitlines())


def _hide(mount: str, arguments: Sequence[str | Path]) -> list[str | Path]:
    return ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "-", *arguments]


def _assert_one_clear_line(ended: Ended, *words: str) -> None:
    assert ended.status == 1, ended.errors
    first, *more = ended.errors
    assert first.startswith("error: ")
    assert len(more) <= 1
    assert all(line.startswith("hint: ") for line in more)
    assert all(word in " ".join(ended.errors) for word in words), ended.errors


def test_without_rights(tmp_path: Path) -> None:
    nothing = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    ended = _run(tmp_path, [*nothing, command("kernel-collector")])
    _assert_one_clear_line(ended, "CAP_BPF")


def test_without_btf(tmp_path: Path) -> None:
    hide = "mount -t tmpfs none /sys/kernel/btf"
    ended = _run(tmp_path, _hide(hide, [command("kernel-collector")]))
    _assert_one_clear_line(ended, "BTF")


def test_without_cgroup_v2(tmp_path: Path) -> None:
    hide = f"umount -l {cgroup_root()}"
    ended = _run(tmp_path, _hide(hide, [command("kernel-collector")]))
    _assert_one_clear_line(ended, "cgroup")


def test_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = _run(
            tmp_path,
            [command("reducer"), "--port", port, "--disable-prometheus-metrics"],
        )
    _assert_one_clear_line(ended, port)


def test_prometheus_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = _run(
            tmp_path,
            [
                *(command("reducer"), "--port", str(free_port())),
                *("--prom", f"127.0.0.1:{port}"),
                *("--internal-prom", f"127.0.0.1:{free_port()}"),
            ],
        )
    _assert_one_clear_line(ended, port, "--prom")


def test_bad_setting(tmp_path: Path) -> None:
    ended = _run(tmp_path, [command("kernel-collector")], EBPF_NET_INTAKE_PORT="80a")
    _assert_one_clear_line(ended, "EBPF_NET_INTAKE_PORT", "'80a'")


def test_unknown_flag(tmp_path: Path) -> None:
    ended = _run(tmp_path, [command("reducer"), "--no-such-flag"])
    _assert_one_clear_line(ended, "--no-such-flag")


def test_second_copy(tmp_path: Path) -> None:
    with System(tmp_path) as system:
        system.start_reducer()
        ended = _run(
            tmp_path,
            [command("reducer"), "--port", str(free_port())],
            EBPF_NET_DATA_DIR=str(system.directory / "reducer"),
        )
    _assert_one_clear_line(ended, "reducer", str(system.directory / "reducer"))


def test_data_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = _run(
        tmp_path,
        [command("kernel-collector")],
        EBPF_NET_DATA_DIR=str(tmp_path / "file" / "data"),
    )
    _assert_one_clear_line(ended, str(tmp_path / "file" / "data"))
