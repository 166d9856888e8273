from dataclasses import replace

import numpy as np
import pytest

from ebpf_net.exporters.byte_columns import join
from ebpf_net.exporters.edge_blocks import cut_blocks, window_series
from ebpf_net.exporters.edge_labels import EdgeLabels
from ebpf_net.testing.windows import make_level, make_window

NODES = [
    {"workload.name": "a", "availability_zone": "z1", "pod": "p"},
    {"workload.name": "b", "availability_zone": "z2"},
    {"ip": "10.0.0.1"},
]


def encode(label, values):
    return join(f"{label}=".encode(), values, b" ")


def labels_of(edges, overflow=None, nodes=NODES):
    series = window_series(make_window({"id_id": make_level(nodes, edges)}))
    if overflow is not None:
        changed = replace(series["id_id"], overflow=np.array(overflow))
        series = {"id_id": changed}
    (block,) = cut_blocks(series)
    labels = EdgeLabels(series["id_id"], {"aggregation": "id_id"}, encode)
    return [text.decode() for text in labels.of_block(block).to_pylist()]


def test_labels_of_both_ends_are_joined():
    assert labels_of([{"source": 0, "dest": 1}, {"source": 2, "dest": 0}]) == [
        (
            "source.workload.name=a source.availability_zone=z1 source.pod=p "
            "dest.workload.name=b dest.availability_zone=z2 "
            "az_equal=false aggregation=id_id "
        ),
        (
            "source.ip=10.0.0.1 "
            "dest.workload.name=a dest.availability_zone=z1 dest.pod=p "
            "aggregation=id_id "
        ),
    ]


def test_zones_are_compared_only_when_both_are_known():
    assert [
        "az_equal=true" in text
        for text in labels_of([{"source": 1, "dest": 1}, {"source": 2, "dest": 2}])
    ] == [True, False]


ZONE_ID, ZONE = "cloud.zone.id", "availability_zone"
PROVIDER = "cloud.provider"


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ({ZONE: "1a", ZONE_ID: "az4"}, {ZONE: "1b", ZONE_ID: "az4"}, True),
        ({ZONE: "1a", ZONE_ID: "az4"}, {ZONE: "1a", ZONE_ID: "az2"}, False),
        ({ZONE: "1a", ZONE_ID: "az4"}, {ZONE: "1a"}, True),
        ({ZONE: "1a", ZONE_ID: "az4"}, {ZONE: "1b"}, False),
        ({ZONE: "1", PROVIDER: "aws"}, {ZONE: "1", PROVIDER: "gcp"}, False),
        ({ZONE: "1", PROVIDER: "aws"}, {ZONE: "1"}, True),
        ({ZONE: "1", "region": "r"}, {ZONE: "1", "region": "s"}, False),
        ({ZONE: "1", "region": "r"}, {ZONE: "1"}, True),
        ({ZONE_ID: "az4"}, {ZONE: "1", ZONE_ID: "az4"}, None),
    ],
)
def test_zones_are_compared_by_id_else_by_name_within_a_region(one, other, equal):
    edges = [{"source": 0, "dest": 1}, {"source": 1, "dest": 0}]
    texts = labels_of(edges, nodes=[one, other])
    told = {word for text in texts for word in text.split() if "az_equal" in word}
    assert told == (set() if equal is None else {f"az_equal={str(equal).lower()}"})


def test_overflow_is_marked():
    edges = [{"source": 2, "dest": 2}, {"source": 2, "dest": 2}]
    assert [
        text.endswith("otel.metric.overflow=true ")
        for text in labels_of(edges, overflow=[False, True])
    ] == [False, True]
