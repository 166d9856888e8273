import errno

import pytest

from ebpf_net.collectors.kernel.libbpf import Refused
from ebpf_net.collectors.kernel.probes import PROBES, Way, hint_for, wanted_probes
from ebpf_net.collectors.kernel.source import SourceOptions


def test_way_tells_kind_and_target() -> None:
    way = Way("tp_btf/inet_sock_set_state", ("program",))
    assert (way.kind, way.target) == ("tp_btf", "inet_sock_set_state")


def test_every_probe_says_what_is_lost_without_it() -> None:
    assert all(probe.lost for probe in PROBES)
    assert all(way.lost for probe in PROBES for way in probe.ways[1:])


def test_signals_have_names_of_their_own() -> None:
    names = [probe.name for probe in PROBES]
    assert len(set(names)) == len(names)


def test_only_the_chosen_protocols_are_probed() -> None:
    tcp = {probe.name for probe in wanted_probes(SourceOptions(udp=False))}
    udp = {probe.name for probe in wanted_probes(SourceOptions(tcp=False))}
    assert tcp & udp == {"adopt"}
    assert {name.split(".")[0] for name in tcp} == {"tcp", "adopt"}
    assert {name.split(".")[0] for name in udp} == {"udp", "adopt"}


@pytest.mark.parametrize(
    ("code", "complaint", "hint"),
    [
        (
            errno.EINVAL,
            "unknown func bpf_sk_storage_get#107",
            "lacks this BPF function",
        ),
        (errno.EINVAL, "invalid func unknown#162", "lacks this BPF function"),
        (errno.EINVAL, "R1 type=scalar expected=ptr_", "log of the verifier"),
        (errno.EPERM, "", "CAP_BPF"),
    ],
)
def test_hint_follows_the_cause(code: int, complaint: str, hint: str) -> None:
    log = f"{complaint}\nprocessed 33 insns" if complaint else ""
    assert hint in hint_for(Refused("load", code, log))
