import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.collectors.kernel.key_index import KeyIndex, hash_columns


@given(st.lists(st.lists(st.integers(1, 5000), unique=True, max_size=900), max_size=4))
def test_rows_are_those_of_a_dictionary(batches):
    index, expected = KeyIndex(), {}
    for batch in batches:
        # All in the first of the table's places, so that they have to move on.
        hashes = np.array(batch, np.uint64) << np.uint64(20)
        new = hashes[index.find(hashes) < 0]
        expected |= dict(zip(new.tolist(), index.insert(new).tolist(), strict=True))
    known = np.array(list(expected), np.uint64)
    assert index.find(known).tolist() == list(expected.values())
    assert sorted(expected.values()) == list(range(len(index)))
    assert index.find(known + np.uint64(1)).tolist() == [-1] * len(expected)


def test_hashes_differ_in_each_column():
    rows = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [-1, 0, 0]])
    hashes = hash_columns(rows.T)
    assert len(set(hashes.tolist())) == 6
    assert 0 not in hashes.tolist()
