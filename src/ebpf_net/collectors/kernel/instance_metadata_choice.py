"""Who is asked about this instance: whom the settings or the machine's marks name."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from ebpf_net.collectors.kernel.instance_metadata_facts import MetadataSource
from ebpf_net.collectors.kernel.instance_metadata_marks import (
    AWS,
    AZURE,
    GCP,
    read_marks,
    which_cloud,
)
from ebpf_net.collectors.kernel.instance_metadata_service import (
    PORT,
    MetadataError,
    MetadataService,
    OutcomeCounts,
)

AUTO, NONE = "auto", "none"
_CLOUD_INIT = Path("run/cloud-init")
_LOOKS = 10  # for what cloud-init leaves: about a quarter of an hour


@dataclass(frozen=True)
class InstanceMetadataOptions:
    """Who is asked: ``auto`` is whom the marks name, ``none`` nobody."""

    cloud: str = NONE
    timeout_seconds: float = 1.0
    allow_version_1: bool = False
    """Of AWS's service, where version 2 gives no token."""
    hosts: tuple[str, ...] = ()
    """Instead of the service's addresses."""
    port: int = PORT
    host_dir: Path | None = None
    root: Path = Path("/")
    refresh_seconds: float = 300.0
    notice_seconds: float = 5.0
    retry_seconds: float = 1.0
    """After a failure; twice as long after the next one."""


@dataclass(frozen=True)
class Choice:
    """Who is asked, and who stands in until there is an answer."""

    source: MetadataSource
    substitute: MetadataSource | None = None


def choose_source(
    options: InstanceMetadataOptions, counts: OutcomeCounts, stopped: threading.Event
) -> Choice | None:
    """Return who is asked; None: this is no cloud. Sends nothing.

    Where only cloud-init can tell, it waits for it.
    """
    cloud = options.cloud
    if cloud == AUTO:
        cloud = which_cloud(read_marks(options.host_dir, options.root))
    if cloud in (AWS, GCP, AZURE):
        service = _service_source(cloud, options, counts)
        return Choice(service, _left_by_cloud_init(options, cloud, OutcomeCounts()))
    if cloud:
        return Choice(_left_by_cloud_init(options, cloud, counts))
    return _named_by_cloud_init(options, counts, stopped)


def _service_source(
    cloud: str, options: InstanceMetadataOptions, counts: OutcomeCounts
) -> MetadataSource:
    """Make one of the three; the others' code is not loaded."""

    def service(hosts: tuple[str, ...]) -> MetadataService:
        hosts = options.hosts or hosts
        return MetadataService(hosts, options.timeout_seconds, counts, options.port)

    if cloud == AWS:
        from ebpf_net.collectors.kernel import (  # noqa: PLC0415
            instance_metadata_aws as aws,
        )

        return aws.AwsSource(
            service(aws.HOSTS), allow_version_1=options.allow_version_1
        )
    if cloud == GCP:
        from ebpf_net.collectors.kernel import (  # noqa: PLC0415
            instance_metadata_gcp as gcp,
        )

        return gcp.GcpSource(service(gcp.HOSTS))
    from ebpf_net.collectors.kernel import (  # noqa: PLC0415
        instance_metadata_azure as azure,
    )

    return azure.AzureSource(service(azure.HOSTS))


def _left_by_cloud_init(
    options: InstanceMetadataOptions, cloud: str, counts: OutcomeCounts
) -> MetadataSource:
    from ebpf_net.collectors.kernel import (  # noqa: PLC0415 - knows several clouds
        instance_metadata_cloud_init as cloud_init,
    )

    return cloud_init.CloudInitSource(_root(options), cloud, counts)


def _named_by_cloud_init(
    options: InstanceMetadataOptions, counts: OutcomeCounts, stopped: threading.Event
) -> Choice | None:
    """Wait for what it finds, if it is there, where the firmware names no cloud."""
    if not (_root(options) / _CLOUD_INIT).is_dir():
        return None
    for look in range(_LOOKS):
        if (_root(options) / _CLOUD_INIT / "instance-data.json").exists():
            source = _left_by_cloud_init(options, "", counts)
            try:
                source.instance()
            except MetadataError:
                return None  # a machine of one's own
            return Choice(source)
        if stopped.wait(options.retry_seconds * 2**look):
            break
    return None


def _root(options: InstanceMetadataOptions) -> Path:
    return options.host_dir or options.root
