"""What went over the wire, by sequence number: a witness that no counter made.

Between the SYN and the FIN of one side its sequence number grows by its payload and
one, whatever was sent again or merged on the way.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.world.hosts import Host

_SYN_OR_FIN = "tcp[tcpflags] & (tcp-syn | tcp-fin | tcp-rst) != 0"
_FIELDS = ("ip.src", "tcp.srcport", "ip.dst", "tcp.dstport", "tcp.seq_raw", "tcp.len")


@dataclass(frozen=True)
class Sent:
    """The payload of one direction of one connection."""

    source: str
    dest: str
    connection: tuple[str, str, str, str]
    bytes: int


class Wire:
    """tshark on a host's interface; it keeps beginnings and ends of connections."""

    def __init__(self, host: Host) -> None:
        fields = [argument for name in _FIELDS for argument in ("-e", name)]
        self._program = host.start(
            *("tshark", "-l", "-n", "-i", host.interface, "-f", _SYN_OR_FIN),
            *("-o", "tcp.relative_sequence_numbers:FALSE"),
            *("-T", "ek", *fields, "-e", "tcp.flags"),
            log="tshark",
        )
        self._program.wait_ready(lambda: "Capturing on" in self._program.read_log())

    def close(self) -> list[Sent]:
        """End the capture and return each direction that had a beginning and an end."""
        self._program.stop()
        first: dict[tuple[str, str, str, str], int] = {}
        sent = []
        for line in self._program.output.read_text().splitlines():
            packet = json.loads(line)
            if "layers" not in packet:
                continue
            flow, sequence, length, flags = _read(packet["layers"])
            if flags & 0x02:
                first[flow] = sequence
            elif flow in first:
                payload = (sequence + length - first.pop(flow) - 1) % 2**32
                sent.append(Sent(flow[0], flow[2], flow, payload))
        return sent


def _read(layers: dict[str, Any]) -> tuple[tuple[str, str, str, str], int, int, int]:
    value = {name.replace("_", "."): items[0] for name, items in layers.items()}
    flow = tuple(value[name] for name in _FIELDS[:4])
    assert len(flow) == 4
    sequence = int(value["tcp.seq.raw"])
    return flow, sequence, int(value["tcp.len"]), int(value["tcp.flags"], 16)
