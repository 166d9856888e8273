"""libbpf as Python objects: an object file, its programs, maps, links and its ring.

The one module that calls the C side. Calls that can block release the GIL (cffi does
so for every call); errors become KernelError, or Refused where a caller tries things.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebpf_net.collectors.kernel._libbpf import ffi, lib
from ebpf_net.errors import KernelError

_LOG_BYTES = 1 << 16
_TYPEDEF = 8  # BTF_KIND_TYPEDEF


class Refused(KernelError):
    """The kernel did not take a program, a map or an attachment."""

    def __init__(self, what: str, code: int, log: str) -> None:
        self.complaint = find_complaint(log)
        said = f" ({self.complaint})" if self.complaint else ""
        super().__init__(f"{what}: {os.strerror(code)}{said}")
        self.code = code
        self.log = log


def find_complaint(log: str) -> str:
    """Return what the verifier said last, before it counts what it has read."""
    lines = [line.strip() for line in log.splitlines()]
    for position in range(len(lines) - 1, 0, -1):
        if lines[position].startswith("processed "):
            return lines[position - 1]
    return ""


def take_log() -> str:
    """What libbpf and the verifier said since the last call."""
    buffer = ffi.new("char[]", _LOG_BYTES)
    used = lib.ebn_take_log(buffer, _LOG_BYTES)
    return bytes(ffi.buffer(buffer, used)).decode(errors="replace")


def kernel_has_tracepoint(name: str) -> bool:
    """Tell whether tp_btf can attach to a tracepoint of this name."""
    return bool(lib.ebn_kernel_has_type(f"btf_trace_{name}".encode(), _TYPEDEF))


def forget_kernel_types() -> None:
    """Free what ``kernel_has_tracepoint`` has read; it reads it again."""
    lib.ebn_forget_kernel_types()


class Link:
    """An attached program; it is detached with ``close``, or when the process ends."""

    def __init__(self, link: Any) -> None:
        self._link = link

    @property
    def fd(self) -> int:
        """File descriptor of the link."""
        return int(lib.bpf_link__fd(self._link))

    def run_iterator(self) -> bool:
        """One pass of an iterator's link; False if the program asked to stop."""
        result = int(lib.ebn_run_iterator(self.fd))
        if result < 0:
            raise Refused("iterator", -result, "")
        return result == 0

    def close(self) -> None:
        """Detach."""
        if self._link != ffi.NULL:
            lib.bpf_link__destroy(self._link)
            self._link = ffi.NULL


class BpfObject:
    """An object file: open, then set, then load, then attach."""

    def __init__(self, path: Path) -> None:
        self._object = lib.ebn_open(str(path).encode())
        if self._object == ffi.NULL:
            raise Refused(f"BPF object {path}", ffi.errno, take_log())

    def programs(self) -> Iterator[str]:
        """Names of all programs."""
        name = lib.ebn_next_program(self._object, b"")
        while name != ffi.NULL:
            yield ffi.string(name).decode()
            name = lib.ebn_next_program(self._object, name)

    def load_only(self, wanted: set[str]) -> None:
        """Say which programs ``load`` loads."""
        for name in self.programs():
            lib.ebn_set_autoload(self._program(name), name in wanted)

    def set_max_entries(self, map_name: str, entries: int) -> None:
        """Size a map; before ``load``."""
        if lib.bpf_map__set_max_entries(self._map(map_name), entries):
            raise Refused(f"size {entries} of map {map_name}", ffi.errno, take_log())

    def set_variable(self, name: str, value: int) -> None:
        """Set a global variable; a constant only before ``load``."""
        self._variable(name, ffi.new("uint64_t *", value), write=True)

    def get_variable(self, name: str) -> int:
        """Value of a global variable."""
        value = ffi.new("uint64_t *")
        self._variable(name, value, write=False)
        return int(value[0])

    def load(self) -> None:
        """Create the maps and load the programs."""
        result = int(lib.bpf_object__load(self._object))
        if result:
            raise Refused("load", -result, take_log())

    def map_fd(self, name: str) -> int:
        """File descriptor of a map."""
        return int(lib.bpf_map__fd(self._map(name)))

    def attach(self, program: str) -> Link:
        """Attach as the section name says."""
        return self._link(program, lib.ebn_attach(self._program(program)))

    def attach_cgroup(self, program: str, cgroup_fd: int) -> Link:
        """Attach to a cgroup, beside what others have attached there."""
        link = lib.ebn_attach_cgroup(self._program(program), cgroup_fd)
        return self._link(program, link)

    def attach_iterator(self, program: str, map_fd: int = -1) -> Link:
        """Attach an iterator, over the elements of a map where one is given."""
        link = lib.ebn_attach_iterator(self._program(program), map_fd)
        return self._link(program, link)

    def skipped_runs(self, program: str) -> int:
        """How often the kernel skipped a program, since it was running already."""
        return int(lib.ebn_skipped_runs(self._program(program)))

    def close(self) -> None:
        """Unload what no link holds."""
        if self._object != ffi.NULL:
            lib.bpf_object__close(self._object)
            self._object = ffi.NULL

    def _link(self, program: str, link: Any) -> Link:
        if link == ffi.NULL:
            raise Refused(f"attach {program}", ffi.errno, take_log())
        return Link(link)

    def _program(self, name: str) -> Any:
        found = lib.bpf_object__find_program_by_name(self._object, name.encode())
        if found == ffi.NULL:
            raise Refused(f"program {name}", errno.ENOENT, "")
        return found

    def _map(self, name: str) -> Any:
        found = lib.bpf_object__find_map_by_name(self._object, name.encode())
        if found == ffi.NULL:
            raise Refused(f"map {name}", errno.ENOENT, "")
        return found

    def _variable(self, name: str, value: Any, *, write: bool) -> None:
        result = int(lib.ebn_variable(self._object, name.encode(), value, write))
        if result:
            raise Refused(f"variable {name}", -result, "")


class Ring:
    """The consumer's end of a ring buffer of equal records."""

    def __init__(self, map_fd: int, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._ring = lib.ebn_ring_open(map_fd, dtype.itemsize)
        if self._ring == ffi.NULL:
            raise Refused("ring buffer", ffi.errno, take_log())

    def fill(self) -> int:
        """Move what the ring holds to our buffer; how many records that holds now."""
        used = int(lib.ebn_ring_drain(self._ring))
        if used < 0:
            raise Refused("ring buffer", -used, take_log())
        return used // self._dtype.itemsize

    def take(self) -> NDArray[Any]:
        """All records drained since the last call."""
        count = self.fill()
        if not count:
            return np.empty(0, self._dtype)
        memory = ffi.buffer(lib.ebn_ring_data(self._ring), count * self._dtype.itemsize)
        # Copied as bytes: NumPy copies structures field by field.
        records = np.frombuffer(bytearray(memory), self._dtype)
        lib.ebn_ring_clear(self._ring)
        return records

    def close(self) -> None:
        """Unmap the ring."""
        if self._ring != ffi.NULL:
            lib.ebn_ring_close(self._ring)
            self._ring = ffi.NULL


def update_map(map_fd: int, key: bytes, value: bytes) -> None:
    """Set one element."""
    if lib.bpf_map_update_elem(map_fd, key, value, 0):
        raise Refused("map update", ffi.errno, "")


def delete_key(map_fd: int, key: bytes) -> None:
    """Delete one element, if it is there."""
    lib.bpf_map_delete_elem(map_fd, key)


def sum_per_cpu(map_fd: int, key: int) -> int:
    """Sum of one element's 64-bit values on all CPUs."""
    values = ffi.new("uint64_t[]", lib.libbpf_num_possible_cpus())
    if lib.bpf_map_lookup_elem(map_fd, ffi.new("uint32_t *", key), values):
        raise Refused("map look-up", ffi.errno, "")
    return sum(values)


def empty_map(
    map_fd: int, key_dtype: np.dtype[Any], value_dtype: np.dtype[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Move everything out of a hash map that no program uses any more."""
    keys, values = ffi.new("char **"), ffi.new("char **")
    try:
        count = int(
            lib.ebn_empty_map(
                map_fd, key_dtype.itemsize, value_dtype.itemsize, keys, values
            )
        )
        if count < 0:
            raise Refused("map batch look-up", -count, "")
        return _copy(keys[0], count, key_dtype), _copy(values[0], count, value_dtype)
    finally:
        lib.ebn_free(keys[0])
        lib.ebn_free(values[0])


def _copy(memory: Any, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    if not count:
        return np.empty(0, dtype)
    return np.frombuffer(bytearray(ffi.buffer(memory, count * dtype.itemsize)), dtype)


def keep_capabilities(mask: int) -> None:
    """Give up all capabilities of this thread that are not in the mask, for good."""
    result = int(lib.ebn_keep_capabilities(mask))
    if result:
        raise Refused("capset", -result, "")
