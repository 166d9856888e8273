import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.ui.safe_text import safe_column, safe_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nginx: worker", "nginx: worker"),
        ("Größe-日本", "Größe-日本"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("a\nb\rc\td", "a\\nb\\rc\\td"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("line\u2028end", "line\\u2028end"),
        ("\udcff", "\\udcff"),
    ],
)
def test_what_cannot_be_printed_becomes_its_escape(text, expected):
    assert safe_text(text) == expected


@given(st.text(st.characters()))
def test_any_text_becomes_printable(text):
    assert safe_text(text).isprintable()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_a_column_is_as_its_values_one_by_one(texts):
    column = pa.array(texts, pa.string())
    assert safe_column(column).to_pylist() == [safe_text(text) for text in texts]
