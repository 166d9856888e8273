"""What needs no kernel; the rest is in tests/bpf."""

from pathlib import Path

import pytest

from ebpf_net.collectors.kernel import probes
from ebpf_net.collectors.kernel.source import KernelSource, SourceOptions, preflight
from ebpf_net.errors import KernelError


def test_kernel_without_type_information_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(probes, "BTF", tmp_path / "vmlinux")
    with pytest.raises(KernelError, match="BTF") as refused:
        KernelSource(SourceOptions())
    assert "CONFIG_DEBUG_INFO_BTF" in refused.value.hint


def test_preflight_does_not_raise_for_what_the_kernel_lacks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(probes, "BTF", tmp_path / "vmlinux")
    signals = preflight(SourceOptions())
    assert [signal.name for signal in signals] == [
        probe.name for probe in probes.PROBES
    ]
    assert not any(signal.attach for signal in signals)
    assert all("BTF" in signal.reason and signal.hint for signal in signals)


def test_missing_object_file_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(probes, "OBJECT", tmp_path / "kernel.bpf.o")
    with pytest.raises(KernelError, match=r"kernel\.bpf\.o is missing"):
        KernelSource(SourceOptions())
