"""``k8s-collector``: who is who in a cluster, to a reducer."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable
from pathlib import Path

from ebpf_net.cli.data_directory import locked_data_directory
from ebpf_net.cli.intake_connection import client_options, spool_options
from ebpf_net.cli.setting_files import (
    check_authority,
    check_intake_files,
    check_pair,
)
from ebpf_net.cli.signals import stop_at_signals
from ebpf_net.collectors.clock import SystemClock
from ebpf_net.collectors.free_memory import share_heap
from ebpf_net.collectors.kubernetes.access import Access, Places, find_access
from ebpf_net.collectors.kubernetes.api import ApiServer
from ebpf_net.collectors.kubernetes.collector import (
    CollectorOptions,
    KubernetesCollector,
)
from ebpf_net.collectors.kubernetes.credentials import Credentials
from ebpf_net.collectors.kubernetes.lease import LeaseOptions
from ebpf_net.intake.batch import Batch
from ebpf_net.intake.client import IntakeClient, Spool
from ebpf_net.settings import K8S_COLLECTOR, Settings, environment

logger = logging.getLogger(__name__)


def run(settings: Settings) -> int:
    """Collect until SIGTERM or SIGINT, then hand over what is left."""
    share_heap()
    check_intake_files(settings)
    access = find_access(places(settings))
    _check_files(access)
    with locked_data_directory(settings.data_dir, K8S_COLLECTOR) as directory:
        spool = spool_options(settings, directory / "kubernetes-spool")

        def connect(snapshot: Callable[[], Batch]) -> IntakeClient:
            return IntakeClient(client_options(settings), Spool(spool), snapshot)

        collector = KubernetesCollector(
            ApiServer(access, Credentials(access, environment())),
            collector_options(settings, access),
            SystemClock(),
            connect,
        )
        stop_at_signals(collector.stop)
        logger.info(
            "watching %s for the reducer at %s port %d",
            access.server,
            settings.intake_host,
            settings.intake_port,
        )
        collector.run()
    return 0


def _check_files(access: Access) -> None:
    """Raise SettingError for a certificate of the kubeconfig that cannot do."""
    if access.ca_file is not None and not access.ca_data:
        check_authority("certificate-authority", access.ca_file)
    certificate, key = access.certificate_file, access.key_file
    if certificate is not None and key is not None and not access.certificate_data:
        check_pair(("client-certificate", certificate), ("client-key", key))


def places(settings: Settings) -> Places:
    """Return where the cluster is looked for."""
    paths = [path for path in settings.kubeconfig.split(os.pathsep) if path]
    return Places(
        kubeconfig=tuple(Path(path) for path in paths),
        context=settings.kubernetes_context,
        service_host=settings.kubernetes_service_host,
        service_port=settings.kubernetes_service_port,
    )


def collector_options(settings: Settings, access: Access) -> CollectorOptions:
    """Return what is told of the cluster, and how."""
    host = settings.collector_hostname or os.uname().nodename
    lease = LeaseOptions(
        namespace=settings.lease_namespace or access.namespace,
        identity=f"{host}_{uuid.uuid4()}",
        name=settings.lease_name,
        duration_seconds=settings.lease_duration_seconds,
    )
    return CollectorOptions(
        host=host,
        cluster_name=settings.cluster_name or access.cluster_name,
        interval_seconds=settings.interval_seconds,
        labels=settings.allow_label,
        annotations=settings.allow_annotation,
        delete_ttl_seconds=settings.delete_ttl_secs,
        delete_capacity=settings.delete_capacity,
        lease=None if settings.disable_leader_election else lease,
    )
