import dataclasses
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.errors import BatchError
from ebpf_net.intake.batch import BatchKind, Receipt
from ebpf_net.intake.headers import (
    from_headers,
    identity_headers,
    receipt_from_json,
    receipt_to_json,
    to_headers,
)
from ebpf_net.testing.intake import make_header


def lower(headers):
    return {name.lower(): text for name, text in headers.items()}


@pytest.mark.parametrize(
    "header",
    [
        make_header(),
        make_header(7, settled=5, previous=6, last_of_window=False, status={}),
        make_header(0, kind=BatchKind.SNAPSHOT),
        make_header(collector="Knoten Süd", host="10.0.0.1 (東京)"),
        make_header(2**63 - 1),
        make_header(status={"signal.tcp.tp_btf": -1}),
    ],
)
def test_header_survives_the_way(header):
    short = dataclasses.replace(header, window_start_ns=1, window_end_ns=2)
    headers = to_headers(short, sent_ns=123)
    assert all(text.isascii() for text in headers.values())
    assert from_headers(lower(headers)) == (short, 123)


def test_settled_and_previous_may_be_absent():
    headers = lower(to_headers(make_header(), 1))
    del headers["ebpf-net-settled"]
    del headers["ebpf-net-previous"]
    assert from_headers(headers)[0] == make_header()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("collector", ""),
        ("collector", "a" * 129),
        ("collector", "a%00b"),
        ("collector", "%ff"),
        ("incarnation", "../../etc"),
        ("incarnation", ".."),
        ("incarnation", "a/b"),
        ("incarnation", "a" * 65),
        ("host", "a%0Ab"),
        ("kind", "other"),
        ("sequence", "-1"),
        ("sequence", "0"),
        ("sequence", "9223372036854775808"),
        ("sequence", "1" * 5000),
        ("sequence", "1.5"),
        ("sequence", "\u0661"),
        ("settled", "1"),
        ("previous", "1"),
        ("window-start", "x"),
        ("window-end", "9999999999"),
        ("window-last", ""),
        ("status", ""),
        ("status", "[]"),
        ("status", '{"a": 1.5}'),
        ("status", '{"a": true}'),
        ("status", '{"a": "1"}'),
        ("status", '{"a b": 1}'),
        ("status", '{"a": 9223372036854775808}'),
        ("status", "[" * 10_000),
        ("status", '{"a": ' + "1" * 5000 + "}"),
        ("status", "{" + ",".join(f'"a{i}": 1' for i in range(513)) + "}"),
        ("status", " " * 16_385),
        ("sent", "yesterday"),
    ],
)
def test_wrong_header_is_refused(name, text):
    headers = lower(to_headers(make_header(), 1)) | {f"ebpf-net-{name}": text}
    with pytest.raises(BatchError) as caught:
        from_headers(headers)
    assert caught.value.reason == "header"
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", ["collector", "kind", "sequence", "status", "sent"])
def test_missing_header_is_refused(name):
    headers = lower(to_headers(make_header(), 1))
    del headers[f"ebpf-net-{name}"]
    with pytest.raises(BatchError, match="is missing"):
        from_headers(headers)


@given(
    st.dictionaries(
        st.sampled_from(sorted(lower(to_headers(make_header(), 1)))),
        st.text(max_size=40),
    )
)
def test_any_text_raises_only_the_documented_error(changes):
    with suppress(BatchError):
        from_headers(lower(to_headers(make_header(), 1)) | changes)


def test_identity_is_quoted():
    assert identity_headers("a b", "run-1")["Ebpf-Net-Collector"] == "a%20b"


def test_receipt_survives_the_way():
    receipt = Receipt(3, 5, "reducer-1", 99, duplicate=True)
    assert receipt_from_json(receipt_to_json(receipt)) == receipt


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"null", b'{"committed": "x"}'])
def test_other_reply_is_no_receipt(body):
    with pytest.raises(BatchError):
        receipt_from_json(body)


@given(st.binary(max_size=100))
def test_any_reply_raises_only_the_documented_error(body):
    with pytest.raises(BatchError):
        receipt_from_json(body)
