"""What makes the API server know us: tokens that change, and client certificates.

A token in a file is read anew for each request, as the kubelet replaces it. A plugin is
asked again shortly before what it told ends, and after a refusal.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import ssl
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ebpf_net.collectors.kubernetes.access import Access, ExecPlugin
from ebpf_net.errors import SettingError
from ebpf_net.intake.authorities import trusting

_PLUGIN_SECONDS = 60.0
_LEEWAY_SECONDS = 60.0

logger = logging.getLogger(__name__)


class CredentialsMissing(Exception):
    """There is no token or certificate just now; it may come."""


class _ExecStatus(msgspec.Struct, rename="camel"):
    token: str = ""
    expiration_timestamp: datetime | None = None
    client_certificate_data: str = ""
    client_key_data: str = ""


class _ExecCredential(msgspec.Struct, rename="camel"):
    status: _ExecStatus


class Credentials:
    """For any thread. ``environment`` is what plugins inherit."""

    def __init__(
        self, access: Access, environment: Mapping[str, str] | None = None
    ) -> None:
        self._access = access
        self._environment = dict(environment or {})
        self._lock = threading.Lock()
        self._told: _ExecStatus | None = None
        self._last_token = ""

    def headers(self) -> dict[str, str]:
        """Return what to send with a request; raises CredentialsMissing."""
        access = self._access
        if access.token_file is not None:
            return _bearer(self._read_token(access.token_file))
        if access.token:
            return _bearer(access.token)
        if access.exec_plugin is not None:
            token = self._ask(access.exec_plugin).token
            return _bearer(token) if token else {}
        if access.username:
            pair = f"{access.username}:{access.password}".encode()
            return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        return {}

    def refused(self) -> None:
        """Forget what a plugin told: the server does not take it."""
        with self._lock:
            self._told = None

    def version(self) -> tuple[object, ...]:
        """Return what changes when a connection must be made with other files."""
        access = self._access
        told = self._told
        files = (access.ca_file, access.certificate_file, access.key_file)
        return (
            *(_file_version(path) for path in files),
            told.client_certificate_data if told else "",
        )

    def tls(self) -> ssl.SSLContext:
        """Return how TLS is spoken; raises SettingError or CredentialsMissing."""
        access = self._access
        try:
            context = self._trusting()
            certificate, key = self._certificate()
            if certificate:
                _load_pem(context, certificate, key)
            elif access.certificate_file is not None:
                context.load_cert_chain(access.certificate_file, access.key_file)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise SettingError(f"cannot use the cluster's certificates: {error}") from None  # fmt: skip  # noqa: E501
        return context

    def _trusting(self) -> ssl.SSLContext:
        access = self._access
        if access.ca_data:
            context = trusting(cadata=access.ca_data)
        else:
            context = trusting(access.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if access.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _certificate(self) -> tuple[str, str]:
        """Return a client certificate that is in no file, and its key, as PEM."""
        access = self._access
        if access.certificate_data:
            key = access.key_data
            if not key and access.key_file is not None:
                key = access.key_file.read_text()
            return access.certificate_data, key
        if access.exec_plugin is not None:
            told = self._ask(access.exec_plugin)
            return told.client_certificate_data, told.client_key_data
        return "", ""

    def _read_token(self, path: Path) -> str:
        try:
            token = path.read_text("ascii").strip()
        except (OSError, ValueError) as error:
            if not self._last_token:
                raise CredentialsMissing(f"cannot read {path}: {error}") from None
            return self._last_token  # being replaced just now
        self._last_token = token or self._last_token
        return self._last_token

    def _ask(self, plugin: ExecPlugin) -> _ExecStatus:
        with self._lock:
            if self._told is None or _is_ending(self._told):
                self._told = self._run(plugin)
            return self._told

    def _run(self, plugin: ExecPlugin) -> _ExecStatus:
        variables = {
            **self._environment,
            **plugin.environment,
            "KUBERNETES_EXEC_INFO": _exec_info(self._access, plugin),
        }
        try:
            done = subprocess.run(
                [plugin.command, *plugin.arguments],
                env=variables,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PLUGIN_SECONDS,
                check=False,
            )
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            raise CredentialsMissing(f"cannot run {plugin.command}: {error}") from None
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            why = said[-1] if said else f"exit code {done.returncode}"
            raise CredentialsMissing(f"{plugin.command} failed: {why}")
        try:
            return msgspec.json.decode(done.stdout, type=_ExecCredential).status
        except (msgspec.DecodeError, RecursionError) as error:
            raise CredentialsMissing(
                f"{plugin.command} told no ExecCredential: {error}"
            ) from None


def _bearer(token: str) -> dict[str, str]:
    if not (token.isascii() and token.isprintable()):
        raise CredentialsMissing("the token has characters that no header can have")
    return {"Authorization": f"Bearer {token}"}


def _is_ending(told: _ExecStatus) -> bool:
    end = told.expiration_timestamp
    if end is None:
        return False
    if end.tzinfo is None:
        end = end.replace(tzinfo=UTC)
    return end.timestamp() - time.time() < _LEEWAY_SECONDS


def _exec_info(access: Access, plugin: ExecPlugin) -> str:
    spec: dict[str, object] = {"interactive": False}
    if plugin.provide_cluster_info:
        cluster: dict[str, object] = {"server": access.server}
        if access.tls_server_name:
            cluster["tls-server-name"] = access.tls_server_name
        if access.insecure:
            cluster["insecure-skip-tls-verify"] = True
        ca_data = access.ca_data
        if not ca_data and access.ca_file is not None:
            ca_data = access.ca_file.read_text()
        if ca_data:
            encoded = base64.b64encode(ca_data.encode()).decode()
            cluster["certificate-authority-data"] = encoded
        spec["cluster"] = cluster
    kind = {"kind": "ExecCredential", "apiVersion": plugin.api_version}
    return json.dumps({**kind, "spec": spec})


def _load_pem(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Load from memory; the library takes files only, so these have no name."""
    with ExitStack() as stack:
        paths = []
        for text in (certificate, key):
            descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
            stack.callback(os.close, descriptor)
            os.write(descriptor, text.encode())
            paths.append(f"/proc/self/fd/{descriptor}")
        context.load_cert_chain(*paths)


def _file_version(path: Path | None) -> tuple[int, ...]:
    try:
        status = path.stat() if path is not None else None
    except (OSError, ValueError):
        status = None
    return (status.st_mtime_ns, status.st_ino) if status else ()
