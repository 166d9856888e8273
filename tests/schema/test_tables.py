import pyarrow as pa
import pytest

from ebpf_net.schema import (
    REFERENCE_KEYS,
    REFERENCES,
    TABLES,
    Scope,
    tables_of,
    timed_tables,
)


@pytest.mark.parametrize("columns", TABLES.values(), ids=TABLES)
def test_columns_are_arrow_types_with_unique_names(columns):
    for _, kind in columns:
        assert pa.type_for_alias(kind) is not None
    names = [name for name, _ in columns]
    assert len(set(names)) == len(names)


def test_reference_tables_have_their_key_and_a_mark_for_removal():
    for table, key in REFERENCE_KEYS.items():
        names = dict(TABLES[table])
        assert key in names
        assert list(names.items())[-1] == ("removed", "bool")


def test_what_tells_of_a_row_is_a_text_of_it():
    for reference in REFERENCES.values():
        if reference.telling:
            assert dict(reference.columns)[reference.telling] == "string"


def test_each_scope_is_named_by_a_table_of_its_own():
    assert sorted(REFERENCES) == sorted(
        name for scope in Scope for name in tables_of(scope)
    )
    for scope in Scope:
        assert tables_of(scope)[0] == scope.value


def test_tables_of_a_cluster_are_those_of_kubernetes():
    kubernetes = [name for name in TABLES if name.startswith("kubernetes_")]
    assert list(tables_of(Scope.CLUSTER)) == kubernetes


def test_addresses_begin_and_end():
    assert timed_tables() == ("kubernetes_addresses", "cloud_addresses")
