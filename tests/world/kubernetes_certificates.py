"""The authority of a cluster, its client certificates and kubeconfigs."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from tests.world.hosts import run


class Authority:
    """An authority of the cluster's own, and the files that it signed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.certificate = directory / "ca.crt"
        self._key = directory / "ca.key"
        self.service_account_key = directory / "service-accounts.key"
        self._make_key(self._key)
        self._make_key(self.service_account_key)
        run(
            *("openssl", "req", "-x509", "-new", "-days", "2", "-key", self._key),
            *("-subj", "/CN=ebpf-net-test", "-out", self.certificate),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )

    def sign(
        self, name: str, user: str, group: str = "", names: tuple[str, ...] = ()
    ) -> tuple[Path, Path]:
        """Make ``name.crt`` and ``name.key`` of a user, or of a server with names."""
        certificate = self._directory / f"{name}.crt"
        key = self._directory / f"{name}.key"
        request = self._directory / f"{name}.csr"
        extensions = self._directory / f"{name}.ext"
        subject = (f"/O={group}" if group else "") + f"/CN={user}"
        lines = [
            "extendedKeyUsage=clientAuth,serverAuth",
            "authorityKeyIdentifier=keyid",
        ]
        if names:
            lines.append(f"subjectAltName={','.join(names)}")
        extensions.write_text("\n".join(lines))
        self._make_key(key)
        run(
            *("openssl", "req", "-new", "-key", key, "-subj", subject, "-out", request),
        )
        run(
            *("openssl", "x509", "-req", "-days", "2", "-in", request),
            *("-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial"),
            *("-extfile", extensions, "-out", certificate),
        )
        return certificate, key

    def write_kubeconfig(
        self, name: str, server: str, user: str, group: str = ""
    ) -> Path:
        """Write ``name.kubeconfig`` for a user with a certificate of its own."""
        certificate, key = self.sign(name, user, group)
        credentials = {
            "client-certificate-data": _encode(certificate),
            "client-key-data": _encode(key),
        }
        return self._write_kubeconfig(name, server, credentials)

    def write_token_kubeconfig(self, name: str, server: str, token: str) -> Path:
        """Write ``name.kubeconfig`` with a bearer token."""
        return self._write_kubeconfig(name, server, {"token": token})

    def _write_kubeconfig(
        self, name: str, server: str, credentials: dict[str, str]
    ) -> Path:
        cluster = {
            "server": server,
            "certificate-authority-data": _encode(self.certificate),
        }
        context = {"cluster": "test", "user": name}
        configuration = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": name, "user": credentials}],
            "contexts": [{"name": "test", "context": context}],
            "current-context": "test",
        }
        path = self._directory / f"{name}.kubeconfig"
        path.write_text(json.dumps(configuration))
        return path

    @staticmethod
    def _make_key(path: Path) -> None:
        curve = ("-name", "prime256v1", "-genkey", "-noout")
        run("openssl", "ecparam", *curve, "-out", path)


def _encode(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
