"""``kernel-collector``: the kernel's records, as batches, to a reducer."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

from ebpf_net.cli.data_directory import check_writable, locked_data_directory
from ebpf_net.cli.intake_connection import (
    client_options,
    send_with_status,
    spool_options,
)
from ebpf_net.cli.setting_files import check_intake_files
from ebpf_net.cli.signals import stop_at_signals
from ebpf_net.cli.translation import watched_translation
from ebpf_net.collectors.clock import SystemClock
from ebpf_net.collectors.hosts import HostLabels, read_host
from ebpf_net.collectors.kernel import podman
from ebpf_net.collectors.kernel.address_translation import AddressTranslation
from ebpf_net.collectors.kernel.capabilities import Capability, drop_capabilities
from ebpf_net.collectors.kernel.cgroup_tree import find_cgroup_root
from ebpf_net.collectors.kernel.collector import CollectorOptions, KernelCollector
from ebpf_net.collectors.kernel.container_runtimes import (
    CONTAINERD_SOCKETS,
    RuntimeSockets,
)
from ebpf_net.collectors.kernel.instance_metadata_choice import (
    InstanceMetadataOptions,
)
from ebpf_net.collectors.kernel.probes import Signal
from ebpf_net.collectors.kernel.source import KernelSource, SourceOptions
from ebpf_net.errors import SettingError
from ebpf_net.intake.client import IntakeClient, Spool
from ebpf_net.settings import KERNEL_COLLECTOR, Settings

_FLUSH_SECONDS = 5.0
_KEPT_CAPABILITIES = frozenset({Capability.SYS_PTRACE, Capability.DAC_READ_SEARCH})
"""To read what /proc/PID/exe is, and files of other users: root may have been started
from somebody's checkout, or be given somebody's token."""

logger = logging.getLogger(__name__)


def run(settings: Settings) -> int:
    """Collect until SIGTERM or SIGINT, then hand over what is left."""
    _check(settings)
    with locked_data_directory(settings.data_dir, KERNEL_COLLECTOR) as directory:
        spool = Spool(spool_options(settings, directory / "spool"))
        with (
            watched_translation(settings) as (translation, more_signals),
            KernelSource(source_options(settings)) as source,
        ):
            drop_capabilities(source.losses, _KEPT_CAPABILITIES)
            check_writable(directory)
            _tell_signals((*source.signals, *more_signals))
            options = replace(collector_options(settings), more_signals=more_signals)
            _collect(settings, source, spool, options, translation)
    return 0


def _collect(
    settings: Settings,
    source: KernelSource,
    spool: Spool,
    options: CollectorOptions,
    translation: AddressTranslation | None,
) -> None:
    collector = KernelCollector(
        source,
        SystemClock(),
        options,
        lambda batch: send_with_status(client, batch),
        translation,
    )
    client = IntakeClient(client_options(settings), spool, collector.snapshot)
    stop_at_signals(collector.stop)
    logger.info(
        "collecting for the reducer at %s port %d",
        settings.intake_host,
        settings.intake_port,
    )
    try:
        collector.run()
    finally:
        if not client.close(_FLUSH_SECONDS):
            logger.warning("the reducer has not taken all; the rest waits on disk")


def source_options(settings: Settings) -> SourceOptions:
    """Return what the kernel is asked for."""
    host_dir = settings.host_dir
    return SourceOptions(
        tcp=not settings.disable_tcp,
        udp=not settings.disable_udp,
        ring_bytes=settings.ring_bytes,
        wake_bytes=settings.ring_bytes // 4,
        udp_peers=settings.max_udp_peers,
        default_include=not settings.include_cgroup,
        cgroup_root=str(find_cgroup_root(host_dir)),
        host_dir=str(host_dir or ""),
        forbid=frozenset(settings.forbid_attach),
    )


def collector_options(settings: Settings) -> CollectorOptions:
    """Return what is collected and how it is told."""
    labels = HostLabels(
        host=settings.agent_host,
        namespace=settings.agent_namespace,
        environment=settings.agent_cluster,
        service=settings.agent_service,
        zone=settings.agent_zone,
    )
    return CollectorOptions(
        host=read_host(labels, settings.host_dir),
        interval_seconds=settings.interval_seconds,
        include_cgroup=settings.include_cgroup,
        exclude_cgroup=settings.exclude_cgroup,
        keep_client_port=settings.keep_client_port,
        leave_out_loopback=settings.disable_loopback,
        max_edges=settings.max_edges,
        container_sockets=_container_sockets(settings),
        instance_metadata=InstanceMetadataOptions(
            cloud=settings.cloud_metadata,
            timeout_seconds=settings.cloud_metadata_timeout_ms / 1000,
            allow_version_1=settings.allow_imdsv1,
            host_dir=settings.host_dir,
        ),
        host_dir=settings.host_dir,
    )


def _container_sockets(settings: Settings) -> RuntimeSockets:
    if settings.disable_container_metadata:
        return RuntimeSockets()
    containerd = settings.containerd_socket
    return RuntimeSockets(
        docker=() if settings.disable_docker_metadata else (settings.docker_socket,),
        containerd=CONTAINERD_SOCKETS if containerd is None else (containerd,),
        crio=(settings.crio_socket,),
        podman=(settings.podman_socket, podman.STORAGE),
    )


def _check(settings: Settings) -> None:
    check_intake_files(settings)
    if settings.host_dir is not None and not settings.host_dir.is_dir():
        raise SettingError(
            f"EBPF_NET_HOST_DIR is '{settings.host_dir}', which is no directory",
            "mount the host's files there, or leave it out",
        )
    if settings.disable_tcp and settings.disable_udp:
        raise SettingError(
            "both TCP and UDP are disabled: there is nothing to collect",
            "leave out --disable-tcp or --disable-udp",
        )
    if settings.ring_bytes & (settings.ring_bytes - 1) or settings.ring_bytes < 1 << 16:
        raise SettingError(
            f"--ring-bytes is {settings.ring_bytes}, expected a power of two of at "
            "least 64K"
        )


def _tell_signals(signals: Iterable[Signal]) -> None:
    for item in signals:
        if item.attach:
            logger.info("signal %s: %s", item.name, item.attach)
        else:
            logger.warning(
                "signal %s is missing: %s; lost: %s", item.name, item.reason, item.lost
            )
