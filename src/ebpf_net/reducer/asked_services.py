"""Services behind translations: what the client asked for, at the server's end."""

from __future__ import annotations

import numpy as np

from ebpf_net.reducer.address_names import Asked
from ebpf_net.reducer.ends import Circle, Found, Int32, encode
from ebpf_net.reducer.keys import Int64, combine
from ebpf_net.reducer.lookups import NOBODY, nobody, pick
from ebpf_net.reducer.matching import Matched
from ebpf_net.reducer.rows import Rows, address_columns, int64_column


def asked_services(
    rows: Rows, matched: Matched, places: tuple[Int64, ...], circle: Circle
) -> Int64 | None:
    """Return the Service that each row's client asked for; None: nobody asked one.

    ``places`` are those of the rows' own ends, as in ``Asked``. What one end's host
    translated counts for the other end's row, too.
    """
    known = circle.known
    if not known.clusters or not known.tables["translations"].num_rows:
        return None
    translation_id = rows.int64("translation_id")
    translated = np.flatnonzero(translation_id != 0)
    if not len(translated):
        return None
    row = known.find_translations(rows.source[translated], translation_id[translated])
    translated, row = translated[row >= 0], row[row >= 0]
    places = tuple(place[translated] for place in places)
    number, first = encode(combine(row, *places))
    table = known.tables["translations"].take(row[first])
    # The places of who translates; of the row where a host is in several.
    host = known.host.find(int64_column(table, "source"))
    where = (pick(known.places[kind].of_host, host) for kind in known.places)
    service = known.addresses.find_services(
        Asked(
            tuple(
                np.where(own >= 0, own, place[first])
                for own, place in zip(where, places, strict=True)
            ),
            *address_columns(table, "service_address"),
            int64_column(table, "service_port") << 8 | int64_column(table, "protocol"),
        ),
        circle.span,
    )
    if not (service >= 0).any():
        return None
    asked = nobody(len(rows))
    asked[translated] = service[number]
    told = nobody(len(matched.ends))
    np.maximum.at(told, matched.own[translated], asked[translated])
    other = np.flatnonzero((matched.peer >= 0) & (asked < 0))
    asked[other] = told[matched.peer[other]]
    return asked


def with_services(
    rows: Rows, own: Int32, peer: Int32, ends: Found, asked: Int64
) -> tuple[Int32, Int32, Found]:
    """Tell apart the servers' ends by the Service that was asked for."""
    is_client = rows.is_client
    own_asked = np.where(is_client, NOBODY, asked)
    peer_asked = np.where(is_client, asked, NOBODY)
    end = np.concatenate([own, peer]).astype(np.int64)
    service = np.concatenate([own_asked, peer_asked])
    number, first = encode(end << 32 | (service + 1))
    ends = {name: values[end[first]] for name, values in ends.items()}
    ends["asked"] = service[first]
    return number[: len(rows)], number[len(rows) :], ends
