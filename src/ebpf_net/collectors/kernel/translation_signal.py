"""Whether address translation can be seen here, as a signal beside the programs'."""

from __future__ import annotations

import os
from pathlib import Path

from ebpf_net.collectors.kernel.capabilities import Capability
from ebpf_net.collectors.kernel.conntrack_opener import ConntrackOpener
from ebpf_net.collectors.kernel.probes import Signal

_NAME = "translations"
_LOST = "true ends of connections whose addresses this host translates"
_LEAST_BUFFER = 4096
EVERYWHERE, _HERE = "conntrack/netlink", "conntrack/own namespace"
_CONNTRACK = Path("/proc/sys/net/netfilter/nf_conntrack_max")


def try_translations(opener: ConntrackOpener) -> Signal:
    """Listen for a moment in our own network namespace, and say whether that works."""
    try:
        attach = find_attach(opener)
    except OSError as error:
        return missing_translations(error)
    if attach == _HERE:
        return Signal(
            _NAME,
            attach,
            _LOST,
            reason="other network namespaces cannot be entered",
            hint="give it CAP_SYS_ADMIN, or run it where the rules are",
        )
    return Signal(_NAME, attach, _LOST)


def find_attach(opener: ConntrackOpener) -> str:
    """Return how far it can listen; OSError where it cannot at all."""
    _try_listening(opener)
    return EVERYWHERE if _may_enter(opener.pid) else _HERE


def missing_translations(error: OSError) -> Signal:
    """Say why it cannot be seen."""
    return Signal(
        _NAME,
        "",
        _LOST,
        reason=error.strerror or str(error),
        hint="it needs CAP_NET_ADMIN, CAP_SYS_ADMIN, and a kernel with conntrack's "
        "netlink (nf_conntrack_netlink); --disable-address-translation is without",
    )


def _try_listening(opener: ConntrackOpener) -> None:
    """Where nothing is tracked yet, only ask: listening would load modules."""
    place = "/proc/self/ns/net"
    opener.check(place, 0)
    if _CONNTRACK.exists():
        os.close(opener.open_events(place, _LEAST_BUFFER, every=False))


def _may_enter(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(line.split()[1], 16) >> Capability.SYS_ADMIN & 1)
