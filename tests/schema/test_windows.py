import pyarrow as pa
import pytest

from ebpf_net.schema import (
    AZ_LABELS,
    LEVEL_EDGES,
    LEVEL_SAMPLES,
    NODE_LABELS,
    Derived,
    Sample,
)


@pytest.mark.parametrize("columns", [LEVEL_EDGES, LEVEL_SAMPLES])
def test_columns_are_arrow_types_with_unique_names(columns):
    for _, kind in columns:
        assert pa.type_for_alias(kind) is not None
    names = [name for name, _ in columns]
    assert len(set(names)) == len(names)


def test_an_az_end_has_no_label_of_a_single_node():
    single = {"id", "ip", "pod", "workload.uid", "node.name"}
    single |= {f"cloud.{one}.id" for one in ("subnet", "interface", "instance")}
    single |= {"cloud.tags"}
    assert set(NODE_LABELS) - set(AZ_LABELS) == single


def test_no_collector_can_send_what_the_reducer_makes():
    assert not {int(kind) for kind in Derived} & {int(kind) for kind in Sample}
