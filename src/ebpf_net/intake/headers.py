"""A batch's header as HTTP headers, and a receipt as JSON: both ways.

Reading is strict: what a stranger may have sent is refused with BatchError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

from ebpf_net.errors import BatchError
from ebpf_net.intake.batch import BatchHeader, BatchKind, Receipt

_COLLECTOR = "Ebpf-Net-Collector"
_INCARNATION = "Ebpf-Net-Incarnation"
_SENT = "Ebpf-Net-Sent"
_HOST = "Ebpf-Net-Host"
_KIND = "Ebpf-Net-Kind"
_SEQUENCE = "Ebpf-Net-Sequence"
_WINDOW_START = "Ebpf-Net-Window-Start"
_WINDOW_END = "Ebpf-Net-Window-End"
_WINDOW_LAST = "Ebpf-Net-Window-Last"
_STATUS = "Ebpf-Net-Status"
_SETTLED = "Ebpf-Net-Settled"
_PREVIOUS = "Ebpf-Net-Previous"

MAX_NAME_LENGTH = 128
MAX_STATUS_BYTES = 16_384
MAX_STATUS_ENTRIES = 512
_MAX_INTEGER = 2**63 - 1
_INTEGER = re.compile(r"[0-9]{1,19}")
_INCARNATION_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_STATUS_NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,128}")


def to_headers(header: BatchHeader, sent_ns: int) -> dict[str, str]:
    """Return the HTTP headers of a batch that is sent now."""
    return {
        **identity_headers(header.collector, header.incarnation),
        _SENT: str(sent_ns),
        _HOST: quote(header.host),
        _KIND: header.kind.value,
        _SEQUENCE: str(header.sequence),
        _WINDOW_START: str(header.window_start_ns),
        _WINDOW_END: str(header.window_end_ns),
        _WINDOW_LAST: str(int(header.last_of_window)),
        _STATUS: json.dumps(dict(header.status), separators=(",", ":")),
        _SETTLED: str(header.settled),
        _PREVIOUS: str(header.previous),
    }


def identity_headers(collector: str, incarnation: str) -> dict[str, str]:
    """Return the HTTP headers that say who it is."""
    return {_COLLECTOR: quote(collector), _INCARNATION: incarnation}


def from_headers(headers: Mapping[str, str]) -> tuple[BatchHeader, int]:
    """Return the header and the time of sending; names are looked up in lower case."""
    kind = _kind(_text(headers, _KIND))
    header = BatchHeader(
        collector=collector_name(headers),
        incarnation=incarnation_name(headers),
        host=_name(headers, _HOST),
        kind=kind,
        sequence=_integer(headers, _SEQUENCE),
        window_start_ns=_integer(headers, _WINDOW_START),
        window_end_ns=_integer(headers, _WINDOW_END),
        last_of_window=_integer(headers, _WINDOW_LAST) == 1,
        status=_status(_text(headers, _STATUS)),
        settled=_optional_integer(headers, _SETTLED),
        previous=_optional_integer(headers, _PREVIOUS),
    )
    _check_window(header)
    return header, _integer(headers, _SENT)


def collector_name(headers: Mapping[str, str]) -> str:
    """Return the collector's name."""
    return _name(headers, _COLLECTOR)


def incarnation_name(headers: Mapping[str, str]) -> str:
    """Return the incarnation: safe as the name of a file."""
    text = _text(headers, _INCARNATION)
    if not _INCARNATION_PATTERN.fullmatch(text):
        raise _bad(_INCARNATION, text, "1 to 64 letters, digits, '_', '.' or '-'")
    return text


def receipt_to_json(receipt: Receipt) -> bytes:
    """Return the body of a reply."""
    fields = {
        "committed": receipt.committed,
        "received": receipt.received,
        "reducer": receipt.reducer,
        "time_ns": receipt.time_ns,
        "duplicate": receipt.duplicate,
    }
    return json.dumps(fields).encode()


def receipt_from_json(body: bytes) -> Receipt:
    """Read the body of a reply."""
    try:
        fields = json.loads(body)
        return Receipt(
            committed=int(fields["committed"]),
            received=int(fields["received"]),
            reducer=str(fields["reducer"]),
            time_ns=int(fields["time_ns"]),
            duplicate=bool(fields.get("duplicate", False)),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BatchError("receipt", f"the reply is no receipt: {error}") from error


def _text(headers: Mapping[str, str], name: str) -> str:
    try:
        return headers[name.lower()]
    except KeyError:
        raise BatchError("header", f"{name} is missing") from None


def _name(headers: Mapping[str, str], name: str) -> str:
    text = _text(headers, name)
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise _bad(name, text, "percent-encoded UTF-8") from None
    if not decoded.isprintable() or not 1 <= len(decoded) <= MAX_NAME_LENGTH:
        raise _bad(name, text, f"1 to {MAX_NAME_LENGTH} printable characters")
    return decoded


def _integer(headers: Mapping[str, str], name: str) -> int:
    text = _text(headers, name)
    if not _INTEGER.fullmatch(text) or int(text) > _MAX_INTEGER:
        raise _bad(name, text, "an integer from 0 to 2**63 - 1")
    return int(text)


def _optional_integer(headers: Mapping[str, str], name: str) -> int:
    return _integer(headers, name) if name.lower() in headers else 0


def _kind(text: str) -> BatchKind:
    try:
        return BatchKind(text)
    except ValueError:
        raise _bad(_KIND, text, "window or snapshot") from None


def _check_window(header: BatchHeader) -> None:
    if header.kind is not BatchKind.WINDOW:
        return
    if header.sequence < 1:
        raise _bad(_SEQUENCE, str(header.sequence), "1 or more")
    if header.settled >= header.sequence:
        raise _bad(_SETTLED, str(header.settled), "less than the sequence")
    if header.previous >= header.sequence:
        raise _bad(_PREVIOUS, str(header.previous), "less than the sequence")
    if header.window_end_ns < header.window_start_ns:
        raise _bad(_WINDOW_END, str(header.window_end_ns), "no less than the start")


def _status(text: str) -> dict[str, int]:
    if len(text) > MAX_STATUS_BYTES:
        raise _bad(_STATUS, text, f"at most {MAX_STATUS_BYTES} bytes")
    try:
        status = json.loads(text)
    except (ValueError, RecursionError):
        raise _bad(_STATUS, text, "JSON") from None
    if not isinstance(status, dict) or len(status) > MAX_STATUS_ENTRIES:
        raise _bad(_STATUS, text, f"an object of at most {MAX_STATUS_ENTRIES} numbers")
    for name, value in status.items():
        if type(value) is not int or abs(value) > _MAX_INTEGER:
            raise _bad(_STATUS, str(value), "integers below 2**63")
        if not _STATUS_NAME.fullmatch(name):
            raise _bad(_STATUS, name, "names of letters, digits and '_.:/-'")
    return status


def _bad(name: str, value: str, expected: str) -> BatchError:
    return BatchError("header", f"{name} is {value[:80]!r}, expected {expected}")
