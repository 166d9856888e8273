import numpy as np

from ebpf_net.exporters.byte_columns import (
    encode_numbers,
    encode_texts,
    from_buffers,
    from_records,
    join,
    join_lists,
    lengths,
    replace,
    take,
    text_of,
    to_buffers,
    where,
)


def test_columns_and_bytes_are_joined_by_row():
    column = encode_texts(["a", "", "é"])
    assert join(b"<", column, b">").to_pylist() == [b"<a>", b"<>", b"<\xc3\xa9>"]


def test_rows_are_taken():
    column = take(encode_texts(["a", "b"]), np.array([1, 1, 0]))
    assert column.to_pylist() == [b"b", b"b", b"a"]


def test_rows_outside_of_the_mask_are_empty():
    column = where(np.array([True, False]), encode_texts(["a", "b"]))
    assert column.to_pylist() == [b"a", b""]


def test_numbers_become_text():
    assert encode_numbers(np.array([-1, 2**62])).to_pylist() == [
        b"-1",
        b"4611686018427387904",
    ]
    texts = encode_numbers(np.array([0.1, 1e-9])).to_pylist()
    assert [float(text) for text in texts] == [0.1, 1e-9]


def test_bytes_and_offsets_make_a_column_and_come_back():
    data = np.frombuffer(b"abc", np.uint8)
    column = from_buffers(data, np.array([0, 1, 1, 3]))
    assert column.to_pylist() == [b"a", b"", b"bc"]
    data, offsets = to_buffers(column.slice(1))
    assert data.tobytes() == b"abc"
    assert offsets.tolist() == [1, 1, 3]
    assert lengths(column).tolist() == [1, 0, 2]
    assert text_of(column.slice(2)) == b"bc"


def test_column_without_rows_has_no_bytes():
    data, offsets = to_buffers(encode_texts([]))
    assert data.tobytes() == b""
    assert offsets.tolist() == [0]


def test_records_become_values():
    records = np.array([(1, 2)], [("a", "u1"), ("b", "<u2")])
    assert from_records(records).to_pylist() == [b"\x01\x02\x00"]


def test_occurrences_are_replaced():
    assert replace(encode_texts(["a/b/"]), b"/", b"//").to_pylist() == [b"a//b//"]


def test_values_are_joined_from_start_to_start():
    column = join_lists(encode_texts(["a", "b", "c"]), np.array([0, 2, 2, 3]), b",")
    assert column.to_pylist() == [b"a,b", b"", b"c"]
