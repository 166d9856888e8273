"""``cloud-collector``: who has which address in clouds, to a reducer."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import cast

from ebpf_net.cli.data_directory import locked_data_directory
from ebpf_net.cli.intake_connection import client_options, spool_options
from ebpf_net.cli.setting_files import check_intake_files
from ebpf_net.cli.signals import stop_at_signals
from ebpf_net.collectors.clock import SystemClock
from ebpf_net.collectors.cloud.at_hand import AWS, AZURE, GCP, clouds_at_hand
from ebpf_net.collectors.cloud.collector import CloudCollector, CollectorOptions
from ebpf_net.collectors.cloud.poller import PollerOptions
from ebpf_net.collectors.cloud.providers import Provider, ProviderOptions
from ebpf_net.collectors.free_memory import share_heap
from ebpf_net.collectors.kernel.instance_metadata_marks import read_marks, which_cloud
from ebpf_net.collectors.object_labels import AllowList
from ebpf_net.errors import SettingError
from ebpf_net.intake.batch import Batch
from ebpf_net.intake.client import IntakeClient, Spool
from ebpf_net.settings import CLOUD_COLLECTOR, Settings, environment

_AUTO = "auto"
_MODULES = {
    AWS: "ebpf_net.collectors.cloud.aws",
    GCP: "ebpf_net.collectors.cloud.gcp",
    AZURE: "ebpf_net.collectors.cloud.azure",
}
"""Each has ``make_providers``. Imported late: an SDK is loaded where it is used."""

logger = logging.getLogger(__name__)


def run(settings: Settings) -> int:
    """Collect until SIGTERM or SIGINT, then hand over what is left."""
    share_heap()
    check_intake_files(settings)
    here = which_cloud(read_marks())
    providers = make_providers(settings, environment(), here)
    with locked_data_directory(settings.data_dir, CLOUD_COLLECTOR) as directory:
        spool = spool_options(settings, directory / "cloud-spool")

        def connect(snapshot: Callable[[], Batch]) -> IntakeClient:
            return IntakeClient(client_options(settings), Spool(spool), snapshot)

        collector = CloudCollector(
            providers, collector_options(settings), SystemClock(), connect
        )
        stop_at_signals(collector.stop)
        logger.info(
            "asking %s for the reducer at %s port %d",
            ", ".join(provider.name for provider in providers),
            settings.intake_host,
            settings.intake_port,
        )
        collector.run()
    return 0


def make_providers(
    settings: Settings, variables: Mapping[str, str], here: str
) -> list[Provider]:
    """Return what is asked. Raises SettingError where there is nothing to ask."""
    scopes = {
        AWS: settings.aws_role_arn,
        GCP: settings.gcp_project,
        AZURE: settings.azure_subscription,
    }
    providers: list[Provider] = []
    for cloud in chosen_clouds(settings, variables, here):
        options = ProviderOptions(
            scopes=scopes[cloud],
            tags=AllowList(settings.allow_tag),
            timeout_seconds=settings.api_timeout_ms / 1000,
            environment=variables,
            here=here,
        )
        make = cast(
            "Callable[[ProviderOptions], Sequence[Provider]]",
            import_module(_MODULES[cloud]).make_providers,
        )
        providers += make(options)
    return providers


def chosen_clouds(
    settings: Settings, variables: Mapping[str, str], here: str
) -> list[str]:
    """Return the clouds that are named, or else those with credentials or scopes."""
    named = set(settings.provider or (_AUTO,))
    if _AUTO in named:
        named.discard(_AUTO)
        named.update(clouds_at_hand(variables, here))
        named.update(
            cloud
            for cloud, scopes in (
                (AWS, settings.aws_role_arn),
                (GCP, settings.gcp_project),
                (AZURE, settings.azure_subscription),
            )
            if scopes
        )
    if not named:
        raise SettingError(
            "no credentials of a cloud were found",
            "say which cloud with --provider aws, gcp or azure",
        )
    return [cloud for cloud in _MODULES if cloud in named]


def collector_options(settings: Settings) -> CollectorOptions:
    """Return how often clouds are asked, and the reducer is told."""
    return CollectorOptions(
        host=os.uname().nodename,
        interval_seconds=settings.interval_seconds,
        poller=PollerOptions(interval_seconds=settings.poll_interval_ms / 1000),
    )
