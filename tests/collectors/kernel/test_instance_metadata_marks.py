import os

import pytest

from ebpf_net.collectors.kernel.instance_metadata_marks import (
    Marks,
    read_marks,
    which_cloud,
)

UUID = "ec2e1916-9099-7caf-fd21-012345abcdef"


@pytest.mark.parametrize(
    ("marks", "cloud"),
    [
        (Marks(sys_vendor="Amazon EC2", product_name="m7g.large"), "aws"),
        (Marks(sys_vendor="Amazon EC2", product_name="m5.metal"), "aws"),
        (Marks(bios_vendor="Amazon EC2"), "aws"),
        (Marks(sys_vendor="Xen", hypervisor_uuid=UUID), "aws"),
        (Marks(product_uuid=UUID.upper(), product_serial=UUID), "aws"),
        (Marks(product_uuid=UUID, product_serial="VMware-42"), ""),
        (Marks(product_name="Google Compute Engine"), "gcp"),
        (Marks(sys_vendor="Google", product_serial="GoogleCloud-AB12"), "gcp"),
        (Marks(sys_vendor="Google", product_name="Eve"), ""),  # a laptop
        (Marks(chassis_asset_tag="7783-7084-3265-9085-8269-3286-77"), "azure"),
        (Marks(sys_vendor="Microsoft Corporation", product_name="Virtual Machine"), ""),
        (
            Marks(sys_vendor="OpenStack Foundation", product_name="OpenStack Nova"),
            "openstack",
        ),
        (Marks(product_name="OpenStack Compute"), "openstack"),
        (Marks(chassis_asset_tag="OpenTelekomCloud"), "openstack"),
        (Marks(sys_vendor="DigitalOcean", product_name="Droplet"), "digitalocean"),
        (Marks(sys_vendor="Hetzner", product_name="vServer"), "hetzner"),
        (Marks(sys_vendor="QEMU", product_name="Standard PC"), ""),
        (Marks(sys_vendor="Dell Inc.", chassis_asset_tag="7783"), ""),
        (Marks(), ""),
    ],
)
def test_firmware_names_the_cloud(marks, cloud):
    assert which_cloud(marks) == cloud


def write(root, name, text):
    path = root / "sys" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)


def test_marks_are_read_and_stripped(tmp_path):
    write(tmp_path, "class/dmi/id/sys_vendor", b"Amazon EC2\n")
    write(tmp_path, "class/dmi/id/product_name", b"t3\xff\n")
    write(tmp_path, "hypervisor/uuid", UUID.encode())
    marks = Marks("Amazon EC2", "t3\N{REPLACEMENT CHARACTER}", hypervisor_uuid=UUID)
    assert read_marks(root=tmp_path) == marks


def test_the_hosts_directory_goes_first_and_may_lack_them(tmp_path):
    host, own = tmp_path / "host", tmp_path / "own"
    write(own, "class/dmi/id/sys_vendor", b"Hetzner\n")
    assert read_marks(host, own) == Marks("Hetzner")
    write(host, "class/dmi/id/sys_vendor", b"DigitalOcean\n")
    assert read_marks(host, own) == Marks("DigitalOcean")


def test_what_is_no_file_is_no_mark_and_keeps_nobody_waiting(tmp_path):
    write(tmp_path, "class/dmi/id/sys_vendor", b"")
    os.mkfifo(tmp_path / "sys/class/dmi/id/product_name")
    (tmp_path / "sys/class/dmi/id/product_serial").mkdir()
    (tmp_path / "sys/class/dmi/id/product_uuid").symlink_to("/dev/zero")
    assert read_marks(root=tmp_path) == Marks()
