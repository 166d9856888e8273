import os

from ebpf_net.collectors.hosts import HostLabels, read_host
from ebpf_net.schema import HOSTS


def test_files_below_the_host_directory_say_who_the_host_is(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hostname").write_text("node-7\n")
    (tmp_path / "etc/machine-id").write_text("00ff\n")
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text("0a-0b\n")
    labels = HostLabels("", "shop", "prod", "web", "eu-1a")
    row = read_host(labels, tmp_path, proc=tmp_path).columns()
    assert list(row) == [name for name, _ in HOSTS]
    assert {name: list(values) for name, values in row.items()} == {
        "host_id": ["node-7"],
        "host_name": ["node-7"],
        "machine_id": ["00ff"],
        "boot_id": ["0a-0b"],
        "namespace": ["shop"],
        "environment": ["prod"],
        "service": ["web"],
        "zone": ["eu-1a"],
        "kernel_release": [os.uname().release],
        "architecture": [os.uname().machine],
        "removed": [False],
    }


def test_the_label_is_the_host_id(tmp_path):
    host = read_host(HostLabels(host="my-host"))
    assert host.host_id == "my-host"
    assert host.host_name != ""


def test_the_boot_stands_for_a_machine_without_id(tmp_path, monkeypatch):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text("\n")
    monkeypatch.setattr("ebpf_net.collectors.hosts._MACHINE_IDS", ("etc/machine-id",))
    monkeypatch.setattr("ebpf_net.collectors.hosts._ROOT", tmp_path)
    host = read_host(HostLabels())
    assert host.machine_id == host.boot_id.replace("-", "") != ""
