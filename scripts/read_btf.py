"""Read the types that an ELF object carries as BTF.

The format is in the kernel's Documentation/bpf/btf.rst.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = (
    *("VOID", "INT", "PTR", "ARRAY", "STRUCT", "UNION", "ENUM", "FWD", "TYPEDEF"),
    *("VOLATILE", "CONST", "RESTRICT", "FUNC", "FUNC_PROTO", "VAR", "DATASEC"),
    *("FLOAT", "DECL_TAG", "TYPE_TAG", "ENUM64"),
)
# Bytes after a type: once, and for each of its members.
ONCE = {"INT": 4, "ARRAY": 12, "VAR": 4, "DECL_TAG": 4}
EACH = {
    "STRUCT": 12,
    "UNION": 12,
    "ENUM": 8,
    "FUNC_PROTO": 8,
    "DATASEC": 12,
    "ENUM64": 12,
}
SIZED = {"INT", "STRUCT", "UNION", "ENUM", "FLOAT", "DATASEC", "ENUM64"}


def read_btf(path: Path) -> list[dict[str, Any]]:
    """Return the types in their order, from number 1 on; the first is void."""
    section = _section(path.read_bytes(), b".BTF")
    magic, _, _, header, types, types_size, texts, _ = struct.unpack_from(
        "<HBBIIIII", section
    )
    if magic != 0xEB9F:
        raise ValueError(f"{path} has no BTF of a little-endian machine")
    names = section[header + texts :]
    body = section[header + types : header + types + types_size]
    void = {"id": 0, "kind": "VOID", "name": ""}
    return [void, *_types(body, names)]


def _section(elf: bytes, wanted: bytes) -> bytes:
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    size, count, names_index = struct.unpack_from("<HHH", elf, 0x3A)
    headers = [
        struct.unpack_from("<IIQQQQ", elf, table + size * index)
        for index in range(count)
    ]
    names = elf[headers[names_index][4] :]
    for name, _, _, _, start, length in headers:
        if _text(names, name) == wanted.decode():
            return elf[start : start + length]
    raise ValueError(f"the object has no section {wanted.decode()}")


def _types(body: bytes, names: bytes) -> Iterator[dict[str, Any]]:
    position, number = 0, 1
    while position < len(body):
        name, info, value = struct.unpack_from("<III", body, position)
        position += 12
        kind, members = NAMES[info >> 24 & 0x1F], info & 0xFFFF
        size = ONCE.get(kind, 0) + EACH.get(kind, 0) * members
        detail = body[position : position + size]
        position += size
        yield {
            "id": number,
            "kind": kind,
            "name": _text(names, name),
            "size" if kind in SIZED else "type_id": value,
            **_detail(kind, detail, names),
        }
        number += 1


def _detail(kind: str, detail: bytes, names: bytes) -> dict[str, Any]:
    if kind == "ARRAY":
        element, _, count = struct.unpack("<III", detail)
        return {"type_id": element, "nr_elems": count}
    if kind == "ENUM":
        return {
            "values": [
                {"name": _text(names, name), "val": value}
                for name, value in struct.iter_unpack("<Ii", detail)
            ]
        }
    if kind == "STRUCT":
        return {
            "members": [
                {"name": _text(names, name), "type_id": of, "bits_offset": offset}
                for name, of, offset in struct.iter_unpack("<III", detail)
            ]
        }
    return {}


def _text(names: bytes, start: int) -> str:
    return names[start : names.index(b"\0", start)].decode()
