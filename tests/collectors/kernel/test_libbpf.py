"""What needs no rights; the rest is in tests/bpf."""

import errno
from pathlib import Path

import numpy as np
import pytest

from ebpf_net.collectors.kernel.libbpf import (
    BpfObject,
    Refused,
    Ring,
    delete_key,
    empty_map,
    find_complaint,
    forget_kernel_types,
    kernel_has_tracepoint,
    sum_per_cpu,
    take_log,
    update_map,
)
from ebpf_net.collectors.kernel.probes import OBJECT, PROBES


@pytest.fixture
def opened() -> BpfObject:
    return BpfObject(OBJECT)


def test_object_has_the_programs_that_the_probes_name(opened: BpfObject) -> None:
    named = {name for probe in PROBES for way in probe.ways for name in way.programs}
    assert set(opened.programs()) == named
    opened.close()


def test_constants_can_be_set_before_the_load(opened: BpfObject) -> None:
    opened.set_variable("max_scan_bytes", 12345)
    assert opened.get_variable("max_scan_bytes") == 12345
    opened.close()


@pytest.mark.parametrize("close_twice", [False, True])
def test_close_may_be_repeated(opened: BpfObject, close_twice: bool) -> None:
    opened.close()
    if close_twice:
        opened.close()


def test_types_of_the_kernel_are_read_again_once_forgotten() -> None:
    assert kernel_has_tracepoint("inet_sock_set_state")
    forget_kernel_types()
    forget_kernel_types()
    assert kernel_has_tracepoint("inet_sock_set_state")
    assert not kernel_has_tracepoint("no_such")


def test_unknown_names_are_refused(opened: BpfObject) -> None:
    with pytest.raises(Refused, match="variable no_such"):
        opened.set_variable("no_such", 1)
    with pytest.raises(Refused, match="map no_such"):
        opened.map_fd("no_such")
    with pytest.raises(Refused, match="program no_such"):
        opened.attach("no_such")
    opened.close()


def test_missing_object_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"no\.o: No such file"):
        BpfObject(tmp_path / "no.o")


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"text", bytes(4096)])
def test_what_is_no_object_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.o"
    path.write_bytes(content)
    with pytest.raises(Refused):
        BpfObject(path)
    take_log()


def test_truncated_object_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "short.o"
    path.write_bytes(OBJECT.read_bytes()[:5000])
    with pytest.raises(Refused):
        BpfObject(path)


def test_log_is_taken_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.o"
    path.write_bytes(b"text")
    with pytest.raises(Refused) as refused:
        BpfObject(path)
    assert "libbpf" in refused.value.log
    assert take_log() == ""


def test_unknown_tracepoint_is_not_there() -> None:
    assert not kernel_has_tracepoint("no_such_tracepoint")


def test_calls_on_no_map_are_refused() -> None:
    with pytest.raises(Refused):
        update_map(-1, bytes(4), bytes(4))
    with pytest.raises(Refused):
        sum_per_cpu(-1, 0)
    with pytest.raises(Refused):
        empty_map(-1, np.dtype("u8"), np.dtype("u8"))
    with pytest.raises(Refused):
        Ring(-1, np.dtype("u8"))
    delete_key(-1, bytes(4))
    take_log()


def test_refusal_tells_what_the_verifier_said_last() -> None:
    log = """libbpf: prog 'tcp_scan': -- BEGIN PROG LOAD LOG --
72: (85) call bpf_sk_storage_get#107
unknown func bpf_sk_storage_get#107
processed 33 insns (limit 1000000) max_states_per_insn 0 total_states 2
-- END PROG LOAD LOG --
libbpf: prog 'tcp_scan': failed to load: -22
"""
    refused = Refused("load", errno.EINVAL, log)
    assert refused.complaint == "unknown func bpf_sk_storage_get#107"
    assert str(refused) == (
        "load: Invalid argument (unknown func bpf_sk_storage_get#107)"
    )


@pytest.mark.parametrize("log", ["", "libbpf: no such map", "processed 1 insns"])
def test_without_a_verdict_there_is_no_complaint(log: str) -> None:
    assert not find_complaint(log)
