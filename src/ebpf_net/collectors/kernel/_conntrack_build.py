"""Build ``_conntrack``, and the program that opens connection tracking's sockets.

Run by setuptools (``cffi_modules``, and setup.py for the program), or by hand:
``python src/ebpf_net/collectors/kernel/_conntrack_build.py``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
PROGRAM = HERE / "conntrack_opener"

DECLARATIONS = """
struct ebn_conntrack;
struct ebn_sockets {
    const void *local;
    const void *remote;
    const uint16_t *local_ports;
    const uint16_t *remote_ports;
    const uint32_t *netns;
    const uint64_t *from_ns;
    const uint64_t *until_ns;
    const uint64_t *fresh_ns;
    const uint64_t *cookies;
    const uint8_t *roles;
    const uint8_t *are_closing;
    const uint8_t *are_retried;
    uint64_t count;
    uint32_t protocol;
    uint32_t host_netns;
    ...;
};
struct ebn_listening {
    uint64_t since_ns;
    uint64_t now_ns;
    uint32_t netns;
    bool is_private;
};
struct ebn_conntrack *ebn_conntrack_new(uint32_t limit, uint64_t seed);
void ebn_conntrack_free(struct ebn_conntrack *table);
int ebn_conntrack_take(struct ebn_conntrack *table, const char *bytes, size_t size,
    const struct ebn_listening *listening);
int ebn_conntrack_drain(struct ebn_conntrack *table, int netlink,
    const struct ebn_listening *listening);
int ebn_conntrack_read_dump(struct ebn_conntrack *table, int netlink,
    const struct ebn_listening *listening);
void ebn_conntrack_begin_dump(struct ebn_conntrack *table);
void ebn_conntrack_end_dump(struct ebn_conntrack *table, uint32_t netns,
    uint64_t now_ns);
void ebn_conntrack_sweep(struct ebn_conntrack *table, uint64_t before_ns);
void ebn_conntrack_resolve(struct ebn_conntrack *table,
    const struct ebn_sockets *sockets, void *translations, uint8_t *outcomes);
uint64_t ebn_conntrack_tell(struct ebn_conntrack *table, uint64_t before_ns, bool all,
    uint32_t host_netns, void *translations, uint64_t room, uint32_t *position);
uint64_t ebn_conntrack_count(const struct ebn_conntrack *table);
uint64_t ebn_conntrack_count_live(const struct ebn_conntrack *table, uint32_t netns);
uint64_t ebn_conntrack_evicted(const struct ebn_conntrack *table);
uint64_t ebn_conntrack_events(const struct ebn_conntrack *table);
"""

ffibuilder = FFI()
ffibuilder.cdef(DECLARATIONS)
ffibuilder.set_source(
    "ebpf_net.collectors.kernel._conntrack",
    (HERE / "conntrack.c").read_text(),
    py_limited_api=True,
    extra_compile_args=["-O2", "-fvisibility=hidden"],
)


def build_program(path: Path = PROGRAM) -> None:
    """Compile the program; under another name first, as the old one may run."""
    compiler = os.environ.get("CC", "cc").split()
    new = path.with_suffix(".new")
    source = HERE / "conntrack_opener.c"
    subprocess.run([*compiler, "-O2", "-o", new, source], check=True)
    new.replace(path)


if __name__ == "__main__":
    build_program()
    with tempfile.TemporaryDirectory() as scratch:
        built = Path(ffibuilder.compile(tmpdir=scratch))
        shutil.copy(built, HERE / (built.name + ".new"))
        (HERE / (built.name + ".new")).replace(HERE / built.name)
