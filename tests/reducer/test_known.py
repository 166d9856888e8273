from __future__ import annotations

import pytest

from ebpf_net.reducer.known import Names
from ebpf_net.reducer.reference import Change, References
from ebpf_net.testing.tables import Row, make_table


def cgroups(*rows: Row) -> Change:
    return Change(1, {"cgroups": make_table("cgroups", rows)}, snapshot=False)


def test_what_is_made_of_a_table_is_kept_until_it_changes(engine):
    names, references = Names(), References()
    references.apply([cgroups({"cgroup_id": 1})], 0)
    first = names.known(engine, references.tables)
    references.apply([], 1)
    second = names.known(engine, references.tables)
    assert second.cgroup is first.cgroup
    assert second.members is first.members
    references.apply([cgroups({"cgroup_id": 2})], 1)
    third = names.known(engine, references.tables)
    assert third.cgroup is not first.cgroup
    assert len(third.cgroup) == 2
    assert third.process is first.process
    assert third.addresses is first.addresses


@pytest.mark.parametrize(
    "labels", ["", "{damaged", "[]", "7", "null", '{"a": {"b": 1}}']
)
def test_labels_that_say_nothing_are_blank(engine, labels):
    references = References()
    references.apply([cgroups({"cgroup_id": 1, "labels": labels})], 0)
    (row,) = Names().known(engine, references.tables).tables["cgroups"].to_pylist()
    told = ("ecs", "label_container", "label_pod", "label_namespace", "nomad")
    assert [row[name] for name in told] == [""] * 5


def test_addresses_have_no_names_where_nobody_gives_them(engine):
    assert not Names().known(engine, References().tables).names_addresses
