"""What the API server answers: pages of a list, events of a watch, and errors."""

from __future__ import annotations

import msgspec


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
    return _page.decode(body)


def read_event(line: bytes) -> Event:
    """Decode a line of a watch; raises msgspec.DecodeError."""
    return _event.decode(line)


def read_status(body: bytes | msgspec.Raw) -> Status:
    """Decode an error; what is none is an error without a reason."""
    try:
        return _status.decode(body)
    except msgspec.DecodeError:
        return Status()
