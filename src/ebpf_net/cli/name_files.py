"""Files of the user that names and prices come from, read again when they change.

A file that cannot be right ends the start; later it is told of once, and what was read
before stays.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import maxminddb

from ebpf_net.errors import SettingError
from ebpf_net.reducer.autonomous_systems import AutonomousSystems
from ebpf_net.reducer.costs import Tolls
from ebpf_net.reducer.known import Names
from ebpf_net.reducer.networks import Networks, parse_networks
from ebpf_net.reducer.prices import Prices, parse_prices

_POLL_SECONDS = 2.0
_Read = TypeVar("_Read")
_Version = tuple[tuple[int, int, int], ...]

logger = logging.getLogger(__name__)


@contextmanager
def watched_names(
    names: Names,
    networks_file: Path | None,
    geoip_paths: Sequence[str],
    tolls: Tolls | None = None,
    price_file: Path | None = None,
) -> Iterator[None]:
    """Give ``names`` and ``tolls`` what is in the files, now and whenever they change.

    Raises SettingError if a file cannot be read now.
    """

    def use_networks(networks: Networks) -> None:
        names.networks = networks

    def use_systems(systems: AutonomousSystems) -> None:
        names.systems = systems

    def use_prices(prices: Prices) -> None:
        if tolls and price_file:
            with _naming(price_file):
                tolls.use(prices)

    files: list[NameFiles] = []
    if tolls and price_file:
        files.append(_files("--price-file", [price_file], _read_prices, use_prices))
    if networks_file:
        files.append(
            _files("--networks-file", [networks_file], _read_networks, use_networks)
        )
    if geoip_paths:
        paths = [Path(path) for path in geoip_paths]
        files.append(_files("--geoip-path", paths, _read_systems, use_systems))
    stop = threading.Event()
    watcher = threading.Thread(
        target=_watch, args=(files, stop), name="name-files", daemon=True
    )
    if files:
        watcher.start()
    try:
        yield
    finally:
        stop.set()
        if files:
            watcher.join()


class NameFiles:
    """Files of a flag, read together. ``load`` gets them when one has changed.

    What it raises names the file.
    """

    def __init__(
        self,
        flag: str,
        paths: Sequence[Path],
        load: Callable[[Sequence[Path]], None],
    ) -> None:
        self._flag, self._paths, self._load = flag, tuple(paths), load
        self._version: _Version | None = None

    def start(self) -> None:
        """Read the files; raises SettingError if that is not possible."""
        self._version = self._look()
        try:
            self._load(self._paths)
        except (OSError, ValueError) as error:
            raise SettingError(f"cannot use {self._flag} {error}") from error

    def refresh(self) -> None:
        """Read the files again if one of them is another one now."""
        version = self._look()
        if version == self._version:
            return
        self._version = version
        try:
            self._load(self._paths)
        except (OSError, ValueError) as error:
            logger.warning("%s %s; what was read before stays", self._flag, error)
        else:
            logger.info("%s: read again", self._flag)

    def _look(self) -> _Version:
        return tuple(_version(path) for path in self._paths)


def _files(
    flag: str,
    paths: Sequence[Path],
    read: Callable[[Sequence[Path]], _Read],
    use: Callable[[_Read], None],
) -> NameFiles:
    files = NameFiles(flag, paths, lambda chosen: use(read(chosen)))
    files.start()
    return files


def _watch(files: Sequence[NameFiles], stop: threading.Event) -> None:
    while not stop.wait(_POLL_SECONDS):
        for one in files:
            one.refresh()


def _version(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_mtime_ns, status.st_size, status.st_ino)


def _read_networks(paths: Sequence[Path]) -> Networks:
    (path,) = paths
    with _naming(path):
        return parse_networks(path.read_text("utf-8-sig"))


def _read_prices(paths: Sequence[Path]) -> Prices:
    (path,) = paths
    with _naming(path):
        return parse_prices(path.read_text("utf-8-sig"))


class _Database:
    """A database that knows nothing where it is damaged or of the other version."""

    def __init__(self, reader: maxminddb.Reader) -> None:
        self._reader = reader

    def get(self, ip_address: str, /) -> object:
        """Return the record of an address, or None."""
        try:
            return self._reader.get(ip_address)
        except (maxminddb.InvalidDatabaseError, ValueError):
            return None


def _read_systems(paths: Sequence[Path]) -> AutonomousSystems:
    return AutonomousSystems([_open_database(path) for path in paths])


def _open_database(path: Path) -> _Database:
    """Open a copy in memory: the file may be written over while it is in use."""
    with _naming(path):
        content = path.read_bytes()
    copy = os.memfd_create("geoip")
    try:
        with os.fdopen(os.dup(copy), "wb") as file:
            file.write(content)
        return _Database(maxminddb.open_database(f"/proc/self/fd/{copy}"))
    except maxminddb.InvalidDatabaseError as error:
        raise ValueError(f"{path}: is not in MaxMind's format") from error
    finally:
        os.close(copy)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Raise what goes wrong as a ValueError that begins with the file's name."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8 text") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
