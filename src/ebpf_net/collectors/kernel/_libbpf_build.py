"""Build ``_libbpf``: the calls of libbpf that we make, and the loops that must be C.

libbpf is compiled by bpf/libbpf.py; libelf and what it needs are linked in from the
distribution's static archives, so that the wheel runs on machines that have none of
them. Run by setuptools (``cffi_modules``), or by
hand: ``python src/ebpf_net/collectors/kernel/_libbpf_build.py``.
"""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import tempfile
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent

DECLARATIONS = """
struct bpf_object; struct bpf_program; struct bpf_map; struct bpf_link;
struct bpf_object *ebn_open(const char *path);
void bpf_object__close(struct bpf_object *object);
int bpf_object__load(struct bpf_object *object);
struct bpf_program *bpf_object__find_program_by_name(const struct bpf_object *object,
    const char *name);
struct bpf_map *bpf_object__find_map_by_name(const struct bpf_object *object,
    const char *name);
int ebn_set_autoload(struct bpf_program *program, bool load);
const char *ebn_next_program(struct bpf_object *object, const char *name);
const char *bpf_program__section_name(const struct bpf_program *program);
int bpf_map__set_max_entries(struct bpf_map *map, uint32_t entries);
int bpf_map__fd(const struct bpf_map *map);
int bpf_link__destroy(struct bpf_link *link);
int bpf_link__fd(const struct bpf_link *link);
int bpf_map_update_elem(int fd, const void *key, const void *value, uint64_t flags);
int bpf_map_delete_elem(int fd, const void *key);
int bpf_map_lookup_elem(int fd, const void *key, void *value);
int libbpf_num_possible_cpus(void);

struct bpf_link *ebn_attach(struct bpf_program *program);
struct bpf_link *ebn_attach_cgroup(struct bpf_program *program, int cgroup_fd);
struct bpf_link *ebn_attach_iterator(struct bpf_program *program, int map_fd);
int ebn_run_iterator(int link_fd);
uint64_t ebn_skipped_runs(struct bpf_program *program);
bool ebn_kernel_has_type(const char *name, int kind);
void ebn_forget_kernel_types(void);

int ebn_variable(struct bpf_object *object, const char *name, uint64_t *value,
    bool write);
size_t ebn_take_log(char *text, size_t size);

struct ebn_ring;
struct ebn_ring *ebn_ring_open(int map_fd, size_t record_size);
int64_t ebn_ring_drain(struct ebn_ring *ring);
char *ebn_ring_data(struct ebn_ring *ring);
void ebn_ring_clear(struct ebn_ring *ring);
void ebn_ring_close(struct ebn_ring *ring);

int64_t ebn_empty_map(int map_fd, size_t key_size, size_t value_size, char **keys,
    char **values);
void ebn_free(void *memory);
int ebn_keep_capabilities(uint64_t mask);
"""


def _archives() -> list[str]:
    """The static libraries. libelf needs libzstd since 0.189, where it is built so."""
    return [
        str(libbpf["ARCHIVE"]),
        *(_archive("libelf.a"), _archive("libz.a")),
        *filter(None, [_archive("libzstd.a", required=False)]),
    ]


def _archive(name: str, *, required: bool = True) -> str:
    """The path of a static library, as the compiler finds it."""
    compiler = os.environ.get("CC", "cc").split()[0]
    found = subprocess.run(
        [compiler, f"-print-file-name={name}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    if "/" in found:
        return found
    if required:
        raise RuntimeError(
            f"{name} was not found: apt-get install libelf-dev zlib1g-dev"
        )
    return ""


libbpf = runpy.run_path(str(HERE.parents[3] / "bpf" / "libbpf.py"))
libbpf["build_libbpf"]()
ffibuilder = FFI()
ffibuilder.cdef(DECLARATIONS)
ffibuilder.set_source(
    "ebpf_net.collectors.kernel._libbpf",
    (HERE / "libbpf.c").read_text(),
    py_limited_api=True,
    include_dirs=[str(libbpf["INCLUDE"])],
    extra_objects=_archives(),
    extra_compile_args=["-O2", "-fvisibility=hidden"],
    extra_link_args=[
        # libelf.a is compiled for programs, not for shared objects: every symbol must
        # be bound here.
        "-Wl,--exclude-libs,ALL",
        "-Wl,-z,text",
    ],
)

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        built = Path(ffibuilder.compile(tmpdir=scratch))
        # Another name first: a process that runs keeps the old file.
        shutil.copy(built, HERE / (built.name + ".new"))
        (HERE / (built.name + ".new")).replace(HERE / built.name)
