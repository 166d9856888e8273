"""The server's sockets and TLS, and whether it may listen beyond loopback."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import os
import socket
import ssl

from ebpf_net.errors import EnvironmentFault, SettingError
from ebpf_net.intake.options import ServerOptions

_LOOPBACK = ("127.0.0.1", "::1")
_BACKLOG = 1024
_Address = tuple[socket.AddressFamily, str]

logger = logging.getLogger(__name__)


def open_sockets(options: ServerOptions) -> list[socket.socket]:
    """Listen; raises SettingError or EnvironmentFault."""
    addresses = _addresses(options)
    secure = options.tls_certificate is not None or options.token_file is not None
    if not secure and not options.allow_insecure:
        _require_loopback(addresses)
    sockets: list[socket.socket] = []
    port = options.port
    try:
        for family, address in addresses:
            listener = _listen(family, address, port, optional=bool(sockets))
            if listener is not None:
                sockets.append(listener)
                port = listener.getsockname()[1]
    except BaseException:
        for opened in sockets:
            opened.close()
        raise
    return sockets


def server_tls(options: ServerOptions) -> ssl.SSLContext | None:
    """Return the TLS context, if TLS is asked for; raises SettingError.

    Files that change are read again at the next handshake.
    """
    if options.tls_certificate is None:
        if options.client_ca is not None:
            raise SettingError(
                "client certificates are asked for without TLS",
                "set the server's certificate and key too",
            )
        return None
    context = _load_tls(options)
    renewal = _Renewal(options, context)
    context.sni_callback = renewal.check
    return context


class _Renewal:
    """Puts a context with the present files in the place of the first one."""

    def __init__(self, options: ServerOptions, context: ssl.SSLContext) -> None:
        self._options = options
        self._context = context
        self._versions = self._look()

    def check(
        self, connection: ssl.SSLObject, _name: str | None, _first: ssl.SSLContext
    ) -> None:
        """Called by OpenSSL in each handshake, whether a name is asked for or not."""
        versions = self._look()
        if versions != self._versions:
            try:
                self._context = _load_tls(self._options)
                self._versions = versions
            except SettingError as error:  # half of the files is new
                logger.warning("the TLS files stay as they were: %s", error)
        connection.context = self._context

    def _look(self) -> list[int]:
        options = self._options
        files = (options.tls_certificate, options.tls_key, options.client_ca)
        try:
            return [path.stat().st_mtime_ns for path in files if path is not None]
        except OSError:
            return []


def _load_tls(options: ServerOptions) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(options.tls_certificate or "", options.tls_key)
        if options.client_ca is not None:
            context.load_verify_locations(options.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise SettingError(f"cannot use the TLS certificate: {error}") from error
    return context


def _addresses(options: ServerOptions) -> list[_Address]:
    if options.host in ("", "localhost"):
        return [(_family(address), address) for address in _LOOPBACK]
    if options.host == "::":
        return [(socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")]
    try:
        found = socket.getaddrinfo(
            options.host.strip("[]"), None, type=socket.SOCK_STREAM
        )
    except OSError as error:
        raise SettingError(
            f"cannot listen on {options.host!r}: {error.strerror}",
            "give an address of this host",
        ) from error
    return list(dict.fromkeys((family, str(name[0])) for family, *_, name in found))


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _require_loopback(addresses: list[_Address]) -> None:
    for _, address in addresses:
        if not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
            raise SettingError(
                f"the intake would listen on {address} and take data from anybody",
                "set a TLS certificate or a token file, or allow it with "
                "--allow-insecure-intake",
            )


def _listen(
    family: socket.AddressFamily, address: str, port: int, *, optional: bool
) -> socket.socket | None:
    """Bind and listen; None where the host lacks an optional address family."""
    try:
        # asyncio sets TCP_NODELAY only where the protocol is named.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        if optional:
            return None
        raise listening_fault(error, "--port", address, port) from error
    with contextlib.ExitStack() as stack:
        stack.callback(listener.close)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((address, port))
            listener.listen(_BACKLOG)
        except OSError as error:
            if optional and error.errno == errno.EADDRNOTAVAIL:
                return None
            raise listening_fault(error, "--port", address, port) from error
        stack.pop_all()
    return listener


def listening_fault(
    error: OSError, flag: str, address: str, port: int
) -> EnvironmentFault:
    """Say why an address that ``flag`` chooses cannot be listened on."""
    name = flag.partition(" ")[0]
    if error.errno == errno.EADDRINUSE:
        return EnvironmentFault(
            f"{name}: port {port} on {address} is in use",
            f"stop the program that has it, or choose another with {flag}",
        )
    reason = os.strerror(error.errno) if error.errno else str(error)
    return EnvironmentFault(
        f"{name}: cannot listen on {address} port {port}: {reason}",
        "choose an address of this host and a port above 1023",
    )
