import contextlib
import json
import logging
import threading
import time

import pytest
from tests.world.metadata_service import (
    AWS_MAC,
    Aws,
    Azure,
    Gcp,
    Silent,
    metadata_server,
)
from tests.world.waiting import wait_until

from ebpf_net.collectors.kernel.instance_metadata import InstanceMetadata
from ebpf_net.collectors.kernel.instance_metadata_choice import (
    InstanceMetadataOptions,
)

SECOND_NS = 1_000_000_000
INTERFACES = "meta-data/network/interfaces/macs"


@contextlib.contextmanager
def asking(cloud, server=None, **options):
    """Run it with turns that are short, and stop it."""
    if server is not None:
        options = {"hosts": ("127.0.0.1",), "port": server.port, **options}
    options = {"retry_seconds": 0.01, "notice_seconds": 0.01, **options}
    metadata = InstanceMetadata(
        InstanceMetadataOptions(cloud, **options), lambda: 100 * SECOND_NS
    )
    metadata.start()
    try:
        yield metadata
    finally:
        metadata.stop()
        metadata.join(10)


def rows(tables, name):
    table = tables.get(name)
    if table is None:
        return []
    names = list(table)
    return [
        dict(zip(names, row, strict=True)) for row in zip(*table.values(), strict=True)
    ]


def instance_row(metadata):
    (row,) = rows(metadata.snapshot(), "cloud_instances")
    return row


def keys(tables):
    return [row["address_key"] for row in rows(tables, "cloud_instance_addresses")]


def wait_known(metadata, addresses=1):
    wait_until(lambda: len(keys(metadata.snapshot())) == addresses, 10)


@pytest.mark.parametrize(
    ("cloud", "service", "key", "addresses"),
    [
        ("aws", Aws, "aws/i-0598c7d356eba48d7", 4),
        ("gcp", Gcp, "gcp/4520031799277581759", 4),
        ("azure", Azure, "azure/02aab8a4-74ef-476e-8182-f6d2ba4166a6", 3),
    ],
)
def test_what_is_learnt_is_told_once_and_in_each_snapshot(
    cloud, service, key, addresses
):
    with metadata_server(service()) as server, asking(cloud, server) as metadata:
        wait_known(metadata, addresses)
        changes = metadata.take_changes()
        assert [row["instance_key"] for row in rows(changes, "cloud_instances")] == [
            key
        ]
        assert len(keys(changes)) == addresses
        assert metadata.take_changes() == {}
        assert instance_row(metadata)["instance_key"] == key
        assert len(keys(metadata.snapshot())) == addresses


def test_an_address_that_comes_and_one_that_goes_are_told():
    aws = Aws()
    with (
        metadata_server(aws) as server,
        asking("aws", server, refresh_seconds=0.01) as metadata,
    ):
        wait_known(metadata, 4)
        metadata.take_changes()
        aws.values[f"{INTERFACES}/{AWS_MAC}/local-ipv4s"] = "10.0.1.10\n10.0.1.12"
        wait_until(lambda: "eni-0aaa 10.0.1.12" in keys(metadata.snapshot()), 10)
        changes = rows(metadata.take_changes(), "cloud_instance_addresses")
    assert {row["address_key"]: bool(row["removed"]) for row in changes} == {
        "eni-0aaa 10.0.1.12": False,
        "eni-0aaa 10.0.1.11": True,
    }


def test_a_termination_is_told_as_it_is_announced(caplog):
    caplog.set_level(logging.WARNING)
    gcp = Gcp()
    with metadata_server(gcp) as server, asking("gcp", server) as metadata:
        wait_known(metadata, 4)
        metadata.take_changes()
        gcp.values["instance/preempted"] = "TRUE"
        wait_until(lambda: instance_row(metadata)["termination_ns"], 10)
        (row,) = rows(metadata.take_changes(), "cloud_instances")
        assert row["termination_ns"] == 130 * SECOND_NS
        gcp.values["instance/preempted"] = "FALSE"
        wait_until(lambda: not instance_row(metadata)["termination_ns"], 10)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == "the cloud ends this instance at 1970-01-01 00:02:10+00:00"


def test_what_was_learnt_stays_while_nobody_answers():
    aws = Aws()
    with (
        metadata_server(aws) as server,
        asking("aws", server, refresh_seconds=0.01) as metadata,
    ):
        wait_known(metadata, 4)
        # What a round begins with: one that runs is answered to its end.
        del aws.values["dynamic/instance-identity/document"]
        wait_until(lambda: metadata.status()["cloud_metadata.failed"] > 2, 10)
        assert len(keys(metadata.snapshot())) == 4
        assert instance_row(metadata)["name"] == "web 1"


def test_a_service_that_comes_back_is_asked_again(caplog):
    caplog.set_level(logging.WARNING)
    aws = Aws()
    aws.gives_token = False
    with metadata_server(aws) as server, asking("aws", server) as metadata:
        wait_until(lambda: metadata.status()["cloud_metadata.refused"] > 2, 10)
        assert metadata.take_changes() == {}
        aws.gives_token = True
        wait_known(metadata, 4)
    (line,) = [record.getMessage() for record in caplog.records]  # told once
    assert "refuses /latest/api/token with status 403" in line


def test_addresses_that_cannot_be_had_do_not_hide_the_rest():
    aws = Aws()
    aws.values[f"{INTERFACES}/"] = "garbage"
    with metadata_server(aws) as server, asking("aws", server) as metadata:
        wait_until(lambda: metadata.status()["cloud_metadata.garbage"] > 2, 10)
        assert instance_row(metadata)["zone_id"] == "euw1-az3"
        assert keys(metadata.snapshot()) == []


def test_what_cloud_init_left_stands_in_for_a_service(tmp_path):
    path = tmp_path / "run/cloud-init/instance-data.json"
    path.parent.mkdir(parents=True)
    data = {"v1": {"cloud_name": "gce", "instance_id": "45", "region": "europe-west4"}}
    path.write_text(json.dumps(data))
    gcp = Gcp()
    gcp.is_google = False
    with (
        metadata_server(gcp) as server,
        asking("gcp", server, root=tmp_path) as metadata,
    ):
        wait_until(lambda: rows(metadata.snapshot(), "cloud_instances"), 10)
        assert instance_row(metadata)["region"] == "europe-west4"
        gcp.is_google = True
        wait_known(metadata, 4)
        changes = rows(metadata.take_changes(), "cloud_instances")
    assert {row["instance_key"]: bool(row["removed"]) for row in changes}[
        "gcp/4520031799277581759"
    ] is False


def test_a_service_that_hangs_delays_nobody():
    with (
        metadata_server(Silent()) as server,
        asking("aws", server, timeout_seconds=30) as metadata,
    ):
        wait_until(lambda: server.asked, 10)
        began = time.monotonic()
        assert metadata.take_changes() == {}
        assert metadata.status()["cloud_metadata.answered"] == 0
        assert time.monotonic() - began < 1
        server.ended.set()


def test_outside_the_clouds_the_thread_ends_and_nothing_is_told(tmp_path):
    with asking("auto", root=tmp_path) as metadata:
        wait_until(lambda: "instance metadata" not in _threads(), 10)
        assert metadata.status() == {}
        assert metadata.take_changes() == {}
        assert rows(metadata.snapshot(), "cloud_instances") == []


def test_none_starts_nothing(tmp_path):
    with asking("none", root=tmp_path) as metadata:
        assert "instance metadata" not in _threads()
        assert metadata.status() == {}


def test_the_outcomes_are_counted():
    with metadata_server(Gcp()) as server:
        with asking("gcp", server, notice_seconds=3600) as metadata:
            wait_known(metadata, 4)
            wait_until(lambda: len(server.asked) == 10, 10)
        answered = metadata.status().pop("cloud_metadata.answered")
    assert answered == len(server.asked)
    assert sum(metadata.status().values()) == answered


def _threads():
    return [thread.name for thread in threading.enumerate()]
