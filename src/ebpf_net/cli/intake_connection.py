"""What every collector does alike to reach the reducer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ebpf_net.intake.batch import Batch
from ebpf_net.intake.client import ClientOptions, IntakeClient, SpoolOptions
from ebpf_net.settings import Settings


def client_options(settings: Settings) -> ClientOptions:
    """Return where the reducer is and how it is spoken to."""
    return ClientOptions(
        host=settings.intake_host,
        port=settings.intake_port,
        token_file=settings.intake_token_file,
        tls=(
            settings.intake_tls
            or settings.intake_ca is not None
            or settings.intake_certificate is not None
        ),
        tls_ca=settings.intake_ca,
        tls_certificate=settings.intake_certificate,
        tls_key=settings.intake_key,
    )


def spool_options(settings: Settings, directory: Path) -> SpoolOptions:
    """Return where batches wait for the reducer."""
    return SpoolOptions(
        directory,
        memory_bytes=settings.spool_memory_bytes,
        disk_bytes=settings.spool_disk_bytes,
    )


def send_with_status(client: IntakeClient, batch: Batch) -> None:
    """Hand a batch over, with the client's own counters in its status."""
    header = batch.header
    status = {**header.status, **client.status()}
    client.submit(replace(batch, header=replace(header, status=status)))
