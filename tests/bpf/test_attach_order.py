"""Why raw_tp and kprobe are no ways to attach: their programs get no socket storage."""

import runpy
import subprocess
from pathlib import Path

import pytest

from ebpf_net.collectors.kernel.libbpf import BpfObject, Refused

BPF = Path(__file__).resolve().parents[2] / "bpf"

# The same body; what differs is how the socket is reached.
SOURCE = """
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, __u64);
} values SEC(".maps");

#define PROGRAM(name, section, index) \\
SEC(section) int name(__u64 *context) \\
{ \\
    __u64 *value = bpf_sk_storage_get(&values, (void *)context[index], 0, \\
                                      BPF_SK_STORAGE_GET_F_CREATE); \\
    if (value) \\
        *value += 1; \\
    return 0; \\
}

PROGRAM(typed, "tp_btf/inet_sock_set_state", 0)
PROGRAM(untyped, "raw_tp/inet_sock_set_state", 0)
PROGRAM(probe, "kprobe/tcp_set_state", 14) /* the first argument: pt_regs.di */

char LICENSE[] SEC("license") = "Dual BSD/GPL";
"""


def libbpf_headers() -> str:
    libbpf = runpy.run_path(str(BPF / "libbpf.py"))
    libbpf["build_libbpf"]()
    return str(libbpf["INCLUDE"])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("attach")
    (directory / "storage.bpf.c").write_text(SOURCE)
    subprocess.run(
        [
            *("clang", "-g", "-O2", "-target", "bpf", "-mcpu=v3", "-std=gnu11"),
            *(f"-I{BPF}", f"-I{libbpf_headers()}"),
            *("-c", directory / "storage.bpf.c", "-o", directory / "storage.bpf.o"),
        ],
        check=True,
    )
    return directory / "storage.bpf.o"


def load(path: Path, program: str) -> None:
    loaded = BpfObject(path)
    try:
        loaded.load_only({program})
        loaded.load()
    finally:
        loaded.close()


def test_typed_tracepoints_reach_the_storage_of_a_socket(built: Path) -> None:
    load(built, "typed")


@pytest.mark.parametrize("program", ["untyped", "probe"])
def test_other_tracing_programs_may_not(built: Path, program: str) -> None:
    with pytest.raises(Refused) as refused:
        load(built, program)
    assert "bpf_sk_storage_get#107" in refused.value.complaint
