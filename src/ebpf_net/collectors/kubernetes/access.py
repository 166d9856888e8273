"""Where an API server is and how it knows us, from a pod's files or a kubeconfig.

Several kubeconfig files are merged as kubectl does: of entries with the same name the
first one wins. Paths in them are relative to the file that has them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ebpf_net.errors import SettingError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_HINT = "name a kubeconfig in KUBECONFIG, or run in a pod with a service account"


@dataclass(frozen=True)
class ExecPlugin:
    """A program that tells a token or a client certificate."""

    command: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    api_version: str = "client.authentication.k8s.io/v1"
    provide_cluster_info: bool = False


@dataclass(frozen=True)
class Access:
    """One context of a kubeconfig, or a pod's service account.

    Of a file and the data in its place, the data go first; all data are PEM.
    """

    server: str
    cluster_name: str = ""
    namespace: str = "default"
    ca_file: Path | None = None
    ca_data: str = ""
    insecure: bool = False
    tls_server_name: str = ""
    proxy_url: str = ""
    token: str = ""
    token_file: Path | None = None
    certificate_file: Path | None = None
    certificate_data: str = ""
    key_file: Path | None = None
    key_data: str = ""
    username: str = ""
    password: str = ""
    exec_plugin: ExecPlugin | None = None


@dataclass(frozen=True)
class Places:
    """Where to look. ``service_host`` is set by the kubelet in each pod."""

    kubeconfig: tuple[Path, ...] = ()
    context: str = ""
    service_host: str = ""
    service_port: int = 443
    service_account: Path = SERVICE_ACCOUNT
    home: Path = Path("~/.kube/config")


def find_access(places: Places) -> Access:
    """Return the first of: the kubeconfig named, the pod's own, the user's.

    Raises SettingError where there is none, or it cannot be right.
    """
    if places.kubeconfig:
        return read_kubeconfig(places.kubeconfig, places.context)
    if places.service_host and (places.service_account / "token").exists():
        return _read_service_account(places)
    home = places.home.expanduser()
    if home.exists():
        return read_kubeconfig((home,), places.context)
    raise SettingError("there is no Kubernetes API server to ask", _HINT)


def read_kubeconfig(paths: Sequence[Path], context_name: str = "") -> Access:
    """Read a context, the current one unless another is named."""
    documents = [(path, _read_document(path)) for path in paths if path.exists()]
    if not documents:
        names = ", ".join(str(path) for path in paths)
        raise SettingError(f"there is no kubeconfig {names}", _HINT)
    if not context_name:
        current = (_text(document, "current-context") for _, document in documents)
        context_name = next((name for name in current if name), "")
    if not context_name:
        raise SettingError(
            f"the kubeconfig {documents[0][0]} has no current context",
            "name one with --context",
        )
    _, context = _entry(documents, "context", context_name)
    cluster_name = _text(context, "cluster")
    cluster_path, cluster = _entry(documents, "cluster", cluster_name)
    user_name = _text(context, "user")
    user_path, user = (
        _entry(documents, "user", user_name) if user_name else (cluster_path, {})
    )
    return _make_access(context, cluster_name, cluster_path, cluster, user_path, user)


def _make_access(
    context: Mapping[str, Any],
    cluster_name: str,
    cluster_path: Path,
    cluster: Mapping[str, Any],
    user_path: Path,
    user: Mapping[str, Any],
) -> Access:
    server = _text(cluster, "server")
    if not server.startswith(("https://", "http://")):
        raise SettingError(
            f"{cluster_path}: server is '{server}', expected https://HOST:PORT"
        )
    if "auth-provider" in user and "exec" not in user:
        raise SettingError(
            f"{user_path} uses an auth-provider, which Kubernetes has given up",
            "use its exec plugin",
        )
    return Access(
        server=server.rstrip("/"),
        cluster_name=cluster_name,
        namespace=_text(context, "namespace") or "default",
        ca_file=_path(cluster_path, cluster, "certificate-authority"),
        ca_data=_data(cluster_path, cluster, "certificate-authority-data"),
        insecure=cluster.get("insecure-skip-tls-verify") is True,
        tls_server_name=_text(cluster, "tls-server-name"),
        proxy_url=_text(cluster, "proxy-url"),
        token=_token(user_path, user),
        token_file=_path(user_path, user, "tokenFile"),
        certificate_file=_path(user_path, user, "client-certificate"),
        certificate_data=_data(user_path, user, "client-certificate-data"),
        key_file=_path(user_path, user, "client-key"),
        key_data=_data(user_path, user, "client-key-data"),
        username=_text(user, "username"),
        password=_text(user, "password"),
        exec_plugin=_read_plugin(user_path, user),
    )


def _read_service_account(places: Places) -> Access:
    host = f"[{places.service_host}]" if ":" in places.service_host else (
        places.service_host
    )  # fmt: skip
    account = places.service_account
    try:
        namespace = (account / "namespace").read_text(encoding="utf-8").strip()
    except OSError:
        namespace = "default"
    return Access(
        server=f"https://{host}:{places.service_port}",
        namespace=namespace,
        ca_file=account / "ca.crt",
        token_file=account / "token",
    )


def _read_document(path: Path) -> Mapping[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"cannot read the kubeconfig {path}: {error}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        line = " ".join(str(error).split())
        raise SettingError(f"the kubeconfig {path} is not YAML: {line}") from None
    except RecursionError:
        raise SettingError(f"the kubeconfig {path} is nested too deeply") from None
    if not isinstance(document, dict):
        raise SettingError(f"the kubeconfig {path} is no mapping")
    return document


def _entry(
    documents: Sequence[tuple[Path, Mapping[str, Any]]], kind: str, name: str
) -> tuple[Path, Mapping[str, Any]]:
    """Return what one of the lists has under a name, and the file it is in."""
    for path, document in documents:
        entries = document.get(f"{kind}s")
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict) and entry.get("name") == name:
                content = entry.get(kind)
                return path, content if isinstance(content, dict) else {}
    raise SettingError(f"the kubeconfig {documents[0][0]} has no {kind} '{name}'")


def _read_plugin(path: Path, user: Mapping[str, Any]) -> ExecPlugin | None:
    plugin = user.get("exec")
    if not isinstance(plugin, dict):
        return None
    command = _text(plugin, "command")
    if not command:
        raise SettingError(f"{path}: exec has no command")
    if "/" in command:  # kubectl looks for it from the file's directory
        command = str(path.parent / command)
    arguments = plugin.get("args") or []
    if not isinstance(arguments, list):
        raise SettingError(f"{path}: args of exec is no list")
    variables = plugin.get("env")
    return ExecPlugin(
        command=command,
        arguments=tuple(str(value) for value in arguments),
        environment={
            _text(entry, "name"): _text(entry, "value")
            for entry in (variables if isinstance(variables, list) else ())
            if isinstance(entry, dict)
        },
        api_version=_text(plugin, "apiVersion") or ExecPlugin.api_version,
        provide_cluster_info=plugin.get("provideClusterInfo") is True,
    )


def _text(section: Mapping[str, Any], key: str) -> str:
    value = section.get(key)
    return value if isinstance(value, str) else ""


def _token(path: Path, user: Mapping[str, Any]) -> str:
    token = _text(user, "token")
    if not (token.isascii() and token.isprintable()):
        raise SettingError(f"{path}: token has characters that no header can have")
    return token


def _path(path: Path, section: Mapping[str, Any], key: str) -> Path | None:
    value = _text(section, key)
    return path.parent / value if value else None


def _data(path: Path, section: Mapping[str, Any], key: str) -> str:
    value = _text(section, key)
    try:
        return base64.b64decode(value, validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        raise SettingError(f"{path}: {key} is not base64 of PEM") from None
