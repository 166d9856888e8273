"""In which cloud this machine is, by what its firmware says: no packet is sent.

The same marks as cloud-init's ds-identify goes by.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from ebpf_net.collectors.kernel.instance_metadata_files import read_regular

AWS = "aws"
GCP = "gcp"
AZURE = "azure"
OPENSTACK = "openstack"
DIGITALOCEAN = "digitalocean"
HETZNER = "hetzner"

_MAX_MARK_BYTES = 4096
_AZURE_CHASSIS = "7783-7084-3265-9085-8269-3286-77"
_OPENSTACK_PRODUCTS = ("OpenStack Nova", "OpenStack Compute")
_OPENSTACK_CHASSIS = ("OpenTelekomCloud", "SAP CCloud VM", "HUAWEICLOUD")


@dataclass(frozen=True)
class Marks:
    """Files of ``/sys/class/dmi/id``, and ``/sys/hypervisor/uuid``.

    Only root may read serial numbers and ids; the others suffice on today's machines.
    """

    sys_vendor: str = ""
    product_name: str = ""
    product_serial: str = ""
    product_uuid: str = ""
    chassis_asset_tag: str = ""
    bios_vendor: str = ""
    hypervisor_uuid: str = ""


def read_marks(host_dir: Path | None = None, root: Path = Path("/")) -> Marks:
    """Read them below the host's directory, or else where they usually are."""
    found = {}
    for field in fields(Marks):
        found[field.name] = next(_texts(field.name, host_dir, root), "")
    return Marks(**found)


def which_cloud(marks: Marks) -> str:
    """Return the provider; empty: these are no marks of a known cloud."""
    signs = {
        AZURE: marks.chassis_asset_tag == _AZURE_CHASSIS,
        GCP: marks.product_name == "Google Compute Engine"
        or marks.product_serial.startswith("GoogleCloud-"),
        AWS: _is_ec2(marks),
        OPENSTACK: marks.product_name in _OPENSTACK_PRODUCTS
        or marks.chassis_asset_tag in _OPENSTACK_CHASSIS,
        DIGITALOCEAN: marks.sys_vendor == "DigitalOcean",
        HETZNER: marks.sys_vendor == "Hetzner",
    }
    return next((provider for provider, is_there in signs.items() if is_there), "")


def _is_ec2(marks: Marks) -> bool:
    if "Amazon EC2" in (marks.sys_vendor, marks.bios_vendor):
        return True
    if marks.hypervisor_uuid.startswith("ec2"):  # instances on Xen
        return True
    # One of 4096 ids begins so by chance: on Xen the serial number is the same.
    uuid, serial = marks.product_uuid.lower(), marks.product_serial.lower()
    return uuid.startswith("ec2") and uuid == serial


def _texts(name: str, host_dir: Path | None, root: Path) -> Iterator[str]:
    for base in (host_dir, root):
        if base is not None and (text := _read(base, name)):
            yield text


def _read(base: Path, name: str) -> str:
    is_xen = name == "hypervisor_uuid"
    path = base / ("sys/hypervisor/uuid" if is_xen else f"sys/class/dmi/id/{name}")
    try:
        return read_regular(path, _MAX_MARK_BYTES).decode(errors="replace").strip()
    except OSError:
        return ""
