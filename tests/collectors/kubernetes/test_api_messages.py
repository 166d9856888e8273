import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.collectors.kubernetes.api_messages import (
    read_event,
    read_page,
    read_status,
)


def test_a_page_says_how_to_go_on():
    page = read_page(
        b'{"kind":"PodList","metadata":{"resourceVersion":"7","continue":"c",'
        b'"remainingItemCount":3},"items":[{"metadata":{}}]}'
    )
    assert page.metadata.resource_version == "7"
    assert page.metadata.continue_ == "c"
    assert [bytes(item) for item in page.items] == [b'{"metadata":{}}']


def test_the_last_page_has_nothing_to_go_on_with():
    page = read_page(b'{"metadata":{"resourceVersion":"7"},"items":null}')
    assert (page.metadata.continue_, page.items) == (None, None)


def test_an_event_has_an_object():
    event = read_event(b'{"type":"ADDED","object":{"a":1}}')
    assert (event.type, bytes(event.object)) == ("ADDED", b'{"a":1}')


def test_an_error_says_why_and_when_to_come_back():
    status = read_status(
        b'{"kind":"Status","code":429,"reason":"TooManyRequests","message":"m",'
        b'"details":{"retryAfterSeconds":3}}'
    )
    assert (status.code, status.reason, status.message) == (429, "TooManyRequests", "m")
    assert status.details.retry_after_seconds == 3


def test_a_page_of_a_proxy_is_an_error_without_a_reason():
    assert read_status(b"<html>bad gateway</html>").code is None


@given(st.binary(max_size=40))
def test_random_bytes_raise_only_a_decode_error(data):
    for read in (read_page, read_event):
        with pytest.raises(msgspec.DecodeError):
            read(data)
    assert read_status(data).code is None


def test_what_is_nested_without_an_end_is_no_message():
    deep = b"[" * 100_000 + b"]" * 100_000
    for read in (read_page, read_event):
        with pytest.raises(msgspec.DecodeError):
            read(b'{"type":"ADDED","x":%b}' % deep)
    assert read_status(b'{"x":%b}' % deep).code is None
