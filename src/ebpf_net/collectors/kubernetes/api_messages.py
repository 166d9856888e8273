"""What the API server answers: pages of a list, events of a watch, and errors."""

from __future__ import annotations

from typing import TypeVar

import msgspec

T = TypeVar("T")


class ListMetadata(msgspec.Struct, rename="camel", gc=False):
    """Where in the history a list is, and how to go on with it."""

    resource_version: str = ""
    continue_: str | None = msgspec.field(name="continue", default=None)


class Page(msgspec.Struct, rename="camel", gc=False):
    """A page of a list; its objects are decoded one by one."""

    metadata: ListMetadata
    items: list[msgspec.Raw] | None = None


class StatusDetails(msgspec.Struct, rename="camel", gc=False):
    """When to ask again."""

    retry_after_seconds: int | None = None


class Status(msgspec.Struct, rename="camel", gc=False):
    """An error, as the body of an answer or as the object of an event."""

    code: int | None = None
    reason: str | None = None
    message: str | None = None
    details: StatusDetails | None = None


class Event(msgspec.Struct, gc=False):
    """An event of a watch; what the object is depends on the type."""

    type: str
    object: msgspec.Raw


_page = msgspec.json.Decoder(Page)
_event = msgspec.json.Decoder(Event)
_status = msgspec.json.Decoder(Status)


def read_page(body: bytes) -> Page:
    """Decode a page; raises msgspec.DecodeError."""
    return _decode(_page, body)


def read_event(line: bytes) -> Event:
    """Decode a line of a watch; raises msgspec.DecodeError."""
    return _decode(_event, line)


def read_status(body: bytes | msgspec.Raw) -> Status:
    """Decode an error; what is none is an error without a reason."""
    try:
        return _decode(_status, body)
    except msgspec.DecodeError:
        return Status()


def _decode(decoder: msgspec.json.Decoder[T], text: bytes | msgspec.Raw) -> T:
    try:
        return decoder.decode(text)
    except RecursionError:
        raise msgspec.DecodeError("it is nested too deeply") from None
