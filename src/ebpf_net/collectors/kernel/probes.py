"""What the kernel can attach: the signals, the ways to each, and which works here."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ebpf_net.collectors.kernel.cgroup_tree import find_cgroup_root
from ebpf_net.collectors.kernel.libbpf import (
    BpfObject,
    Link,
    Refused,
    kernel_has_tracepoint,
)
from ebpf_net.errors import EbpfNetError, KernelError

if TYPE_CHECKING:
    from ebpf_net.collectors.kernel.source import SourceOptions

OBJECT = Path(__file__).with_name("kernel.bpf.o")
BTF = Path("/sys/kernel/btf/vmlinux")


@dataclass(frozen=True)
class Signal:
    """One thing the collector learns from the kernel, and how it is attached here."""

    name: str
    attach: str
    """Such as ``tp_btf/inet_sock_set_state``; empty where nothing could be attached."""
    lost: str
    """What the collector cannot tell without it."""
    reason: str = ""
    """Why it is missing, or why the second best was taken."""
    hint: str = ""
    """What to do about it."""


@dataclass(frozen=True)
class Way:
    """Programs that together give a signal, and how they are attached."""

    attach: str
    programs: tuple[str, ...]
    lost: str = ""
    """What the first way tells, and this one does not."""

    @property
    def kind(self) -> str:
        """``tp_btf``, ``iter``, ``cgroup`` …: the part before the first slash."""
        return self.attach.partition("/")[0]

    @property
    def target(self) -> str:
        """What is attached to."""
        return self.attach.partition("/")[2]


@dataclass(frozen=True)
class Probe:
    """A signal and the ways to get it, best first."""

    name: str
    protocol: str
    """``tcp``, ``udp``, or empty for both."""
    lost: str
    ways: tuple[Way, ...]
    vital: bool = False
    """Without it, its protocol is not collected."""


_SOCKOPS = "tcp_state_sockops"

PROBES = (
    Probe(
        "tcp.state",
        "tcp",
        "TCP altogether",
        (
            Way(
                "tp_btf/inet_sock_set_state",
                ("tcp_state_tp_btf", "tcp_destroyed_tp_btf"),
            ),
            Way(
                "fentry/tcp_set_state",
                ("tcp_state_fentry",),
                lost="owners of servers that start later",
            ),
            Way(
                "cgroup/sock_ops",
                (_SOCKOPS,),
                lost="TCP connections that were open before the start",
            ),
        ),
        vital=True,
    ),
    Probe(
        "tcp.scan",
        "tcp",
        "what a TCP connection does before it closes",
        (Way("iter/bpf_sk_storage_map", ("tcp_scan", "tcp_recount")),),
    ),
    Probe(
        "adopt",
        "",
        "connections that were open before the start, owners of older sockets",
        (Way("iter/task_file", ("adopt_files",)),),
    ),
    Probe(
        "tcp.resets_sent",
        "tcp",
        "resets sent",
        (Way("tp_btf/tcp_send_reset", ("tcp_reset_sent_tp_btf",)),),
    ),
    Probe(
        "tcp.refused",
        "tcp",
        "resets sent where no socket is, such as for a port where nobody listens",
        (Way("tp_btf/tcp_send_reset", ("tcp_refused_tp_btf",)),),
    ),
    Probe(
        "tcp.resets_received",
        "tcp",
        "resets received",
        (Way("tp_btf/tcp_receive_reset", ("tcp_reset_received_tp_btf",)),),
    ),
    Probe(
        "tcp.requests",
        "tcp",
        "SYN-ACKs sent again for connections that never came to be",
        (Way("tp_btf/tcp_retransmit_synack", ("tcp_synack_tp_btf",)),),
    ),
    Probe(
        "udp.packets",
        "udp",
        "UDP altogether",
        (Way("cgroup/skb", ("udp_sent", "udp_received")),),
        vital=True,
    ),
    Probe(
        "udp.owners",
        "udp",
        "which process has a UDP socket that is made after the start",
        (Way("cgroup/sock_create", ("udp_created",)),),
    ),
    Probe(
        "udp.drops",
        "udp",
        "datagrams that a full socket dropped (they count as received)",
        (Way("tp_btf/udp_fail_queue_rcv_skb", ("udp_dropped_tp_btf",)),),
    ),
    Probe(
        "udp.discards",
        "udp",
        "datagrams dropped for their checksum or by a socket's filter",
        (Way("tp_btf/kfree_skb", ("udp_discarded_tp_btf",)),),
    ),
)

_HINTS = {
    errno.EPERM: "run as root, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN",
    errno.EACCES: "run as root, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN",
    errno.ENOENT: "the kernel lacks this attach point; a newer kernel has it",
    errno.ENOMEM: "raise the limit of locked memory (ulimit -l)",
}

# How the verifier calls a function that it does not have (for this kind of program).
_LACKING = re.compile(r"(unknown|invalid) func |program of this type cannot use helper")


class Attachment:
    """A loaded object and its links."""

    def __init__(
        self, options: SourceOptions, ways: list[Way], *, cookie: bool = True
    ) -> None:
        self.links: dict[str, Link] = {}
        self.object = BpfObject(OBJECT)
        try:
            self._set_up(options, ways, cookie)
            self.object.load()
            for way in ways:
                self._attach(options, way)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Detach and unload."""
        for link in self.links.values():
            link.close()
        self.links.clear()
        self.object.close()

    def _set_up(self, options: SourceOptions, ways: list[Way], cookie: bool) -> None:
        programs = {program for way in ways for program in way.programs}
        bpf = self.object
        bpf.load_only(programs)
        bpf.set_max_entries("events", options.ring_bytes)
        bpf.set_max_entries("udp_peers_even", options.udp_peers)
        bpf.set_max_entries("udp_peers_odd", options.udp_peers)
        bpf.set_variable("filter_tcp", options.tcp)
        bpf.set_variable("filter_udp", options.udp)
        bpf.set_variable("max_scan_bytes", options.ring_bytes // 2)
        bpf.set_variable("max_quiet_bytes", options.wake_bytes)
        bpf.set_variable("filter_default_include", options.default_include)
        bpf.set_variable("counts_requests", "tcp_synack_tp_btf" in programs)
        # A sockops program has another helper for it, on another context.
        bpf.set_variable("has_socket_cookie", cookie and _SOCKOPS not in programs)
        bpf.set_variable("filter_adopted", _SOCKOPS not in programs)

    def _attach(self, options: SourceOptions, way: Way) -> None:
        for program in way.programs:
            if way.kind == "iter":
                link = self._attach_iterator(program, way.target)
            elif way.kind == "cgroup":
                link = self._attach_cgroup(options, program)
            else:
                link = self.object.attach(program)
            self.links[program] = link

    def _attach_iterator(self, program: str, target: str) -> Link:
        over_storage = target == "bpf_sk_storage_map"
        map_fd = self.object.map_fd("tcp_sockets") if over_storage else -1
        return self.object.attach_iterator(program, map_fd)

    def _attach_cgroup(self, options: SourceOptions, program: str) -> Link:
        root = options.cgroup_root or find_cgroup_root(
            Path(options.host_dir) if options.host_dir else None
        )
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return self.object.attach_cgroup(program, descriptor)
        finally:
            os.close(descriptor)


def attach_all(
    options: SourceOptions,
) -> tuple[Attachment, tuple[Signal, ...]]:
    """Attach every signal that the kernel gives; KernelError if that is nothing.

    All at once first, since that is one load; one by one only to find out which
    the kernel refuses.
    """
    check_environment()
    best = [(probe, _present(options, probe)) for probe in wanted_probes(options)]
    if any(probe.ways[0] not in ways for probe, ways in best):
        return _attach_what_works(options)
    try:
        attachment = Attachment(options, [ways[0] for _, ways in best])
    except EbpfNetError:
        return _attach_what_works(options)
    return attachment, tuple(_signal(probe, ways[0], None) for probe, ways in best)


def _attach_what_works(
    options: SourceOptions,
) -> tuple[Attachment, tuple[Signal, ...]]:
    tried = [(probe, *_try_ways(options, probe)) for probe in wanted_probes(options)]
    for probe, way, cause in tried:
        if probe.vital and way is None and cause is not None:
            raise KernelError(f"{probe.name}: {cause}", hint_for(cause)) from cause
    ways = [way for _, way, _ in tried if way]
    signals = tuple(_signal(*each) for each in tried)
    return _attach_with_or_without_cookie(options, ways), signals


def _attach_with_or_without_cookie(
    options: SourceOptions, ways: list[Way]
) -> Attachment:
    try:
        return Attachment(options, ways)
    except Refused:
        return Attachment(options, ways, cookie=False)


def try_each(options: SourceOptions) -> tuple[Signal, ...]:
    """Attach each signal by itself and detach it again; never raises."""
    probes = wanted_probes(options)
    try:
        check_environment()
    except KernelError as error:
        return tuple(_signal(probe, None, error) for probe in probes)
    return tuple(_signal(probe, *_try_ways(options, probe)) for probe in probes)


def wanted_probes(options: SourceOptions) -> list[Probe]:
    """The probes of the protocols that are collected."""
    wanted = {"tcp": options.tcp, "udp": options.udp, "": True}
    return [probe for probe in PROBES if wanted[probe.protocol]]


def check_environment() -> None:
    """KernelError where nothing at all can work, with what to do."""
    if not BTF.exists():
        raise KernelError(
            f"{BTF} is missing: the kernel has no type information (BTF)",
            "use a kernel with CONFIG_DEBUG_INFO_BTF, such as Debian's or Ubuntu's "
            "from 5.10 on",
        )
    if not OBJECT.exists():
        raise KernelError(
            f"{OBJECT} is missing", "compile it: python bpf/build.py " + str(OBJECT)
        )


def _present(options: SourceOptions, probe: Probe) -> list[Way]:
    """The ways that are not forbidden and whose tracepoint exists."""
    return [
        way
        for way in probe.ways
        if way.kind not in options.forbid
        and (way.kind != "tp_btf" or kernel_has_tracepoint(way.target))
    ]


def _try_ways(
    options: SourceOptions, probe: Probe
) -> tuple[Way | None, EbpfNetError | None]:
    cause: EbpfNetError | None = None
    if probe.ways[0] not in _present(options, probe):
        cause = _absence(options, probe.ways[0])
    for way in _present(options, probe):
        try:
            _attach_with_or_without_cookie(options, [way]).close()
        except EbpfNetError as error:
            cause = cause or error
        else:
            return way, cause
    return None, cause


def _absence(options: SourceOptions, way: Way) -> KernelError:
    if way.kind in options.forbid:
        return KernelError(
            f"{way.attach} is forbidden by --forbid-attach", "leave that flag out"
        )
    return KernelError(f"{way.attach} is not there")


def _signal(probe: Probe, way: Way | None, cause: EbpfNetError | None) -> Signal:
    if way is None and cause is None:
        cause = KernelError(f"{probe.ways[0].attach} is not there")
    first_choice = way is not None and way == probe.ways[0]
    if first_choice or cause is None:
        return Signal(probe.name, way.attach if way else "", probe.lost)
    return Signal(
        probe.name,
        way.attach if way else "",
        way.lost if way else probe.lost,
        reason=str(cause),
        hint=hint_for(cause),
    )


def hint_for(cause: EbpfNetError) -> str:
    """Return what to do about it."""
    if cause.hint:
        return cause.hint
    if isinstance(cause, Refused) and _LACKING.match(cause.complaint):
        return "the kernel lacks this BPF function; a newer kernel has it"
    code = cause.code if isinstance(cause, Refused) else errno.ENOENT
    return _HINTS.get(code, "see the log of the verifier with --log-level debug")
