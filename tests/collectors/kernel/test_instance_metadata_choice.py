import json
import threading

import pytest

from ebpf_net.collectors.kernel.instance_metadata_aws import AwsSource
from ebpf_net.collectors.kernel.instance_metadata_azure import AzureSource
from ebpf_net.collectors.kernel.instance_metadata_choice import (
    AUTO,
    InstanceMetadataOptions,
    choose_source,
)
from ebpf_net.collectors.kernel.instance_metadata_cloud_init import CloudInitSource
from ebpf_net.collectors.kernel.instance_metadata_gcp import GcpSource
from ebpf_net.collectors.kernel.instance_metadata_service import OutcomeCounts

DATA = {"v1": {"cloud_name": "openstack", "instance_id": "5e5a"}}


def choose(root, cloud=AUTO, stopped=None, **options):
    options = {"retry_seconds": 0.001, **options}
    return choose_source(
        InstanceMetadataOptions(cloud, root=root, **options),
        OutcomeCounts(),
        stopped or threading.Event(),
    )


def write(root, place, text):
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("mark", "text", "kind"),
    [
        ("sys_vendor", "Amazon EC2", AwsSource),
        ("product_name", "Google Compute Engine", GcpSource),
        ("chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77", AzureSource),
        ("sys_vendor", "Hetzner", CloudInitSource),
        ("sys_vendor", "DigitalOcean", CloudInitSource),
        ("product_name", "OpenStack Nova", CloudInitSource),
    ],
)
def test_who_the_marks_name_is_asked(tmp_path, mark, text, kind):
    write(tmp_path, f"sys/class/dmi/id/{mark}", text)
    assert isinstance(choose(tmp_path).source, kind)


@pytest.mark.parametrize(
    ("cloud", "kind"), [("aws", AwsSource), ("gcp", GcpSource), ("azure", AzureSource)]
)
def test_who_is_named_is_asked_whatever_the_marks_say(tmp_path, cloud, kind):
    write(tmp_path, "sys/class/dmi/id/sys_vendor", "Hetzner")
    choice = choose(tmp_path, cloud)
    assert isinstance(choice.source, kind)
    assert isinstance(choice.substitute, CloudInitSource)


def test_a_machine_without_marks_asks_nobody(tmp_path):
    assert choose(tmp_path) is None
    write(tmp_path, "sys/class/dmi/id/sys_vendor", "Dell Inc.")
    assert choose(tmp_path) is None


def test_a_cloud_that_only_cloud_init_knows(tmp_path):
    write(tmp_path, "run/cloud-init/instance-data.json", json.dumps(DATA))
    assert choose(tmp_path).source.instance().instance_id == "5e5a"


def test_a_machine_of_ones_own_with_cloud_init(tmp_path):
    data = {"v1": {"cloud_name": "nocloud", "instance_id": "5e5a"}}
    write(tmp_path, "run/cloud-init/instance-data.json", json.dumps(data))
    assert choose(tmp_path) is None


def test_cloud_init_is_waited_for_within_bounds(tmp_path):
    (tmp_path / "run/cloud-init").mkdir(parents=True)
    assert choose(tmp_path) is None


class _Writing(threading.Event):
    """Lets cloud-init finish while it is waited for."""

    def __init__(self, root):
        super().__init__()
        self._root = root

    def wait(self, timeout=None):
        write(self._root, "run/cloud-init/instance-data.json", json.dumps(DATA))
        return False


def test_what_cloud_init_finds_later_is_taken(tmp_path):
    (tmp_path / "run/cloud-init").mkdir(parents=True)
    assert choose(tmp_path, stopped=_Writing(tmp_path)).source.instance()


def test_a_stop_ends_the_waiting(tmp_path):
    (tmp_path / "run/cloud-init").mkdir(parents=True)
    stopped = threading.Event()
    stopped.set()
    assert choose(tmp_path, stopped=stopped, retry_seconds=3600) is None


def test_the_hosts_directory_is_looked_into(tmp_path):
    host = tmp_path / "host"
    write(host, "run/cloud-init/instance-data.json", json.dumps(DATA))
    assert choose(tmp_path, host_dir=host).source.instance().instance_id == "5e5a"
    assert choose(tmp_path) is None
