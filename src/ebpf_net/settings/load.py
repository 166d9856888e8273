"""Read the command line, the environment and the configuration file into Settings."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from ebpf_net.errors import SettingError
from ebpf_net.settings.obsolete import OBSOLETE, OBSOLETE_SWITCHES
from ebpf_net.settings.table import (
    CLOUD_COLLECTOR,
    K8S_COLLECTOR,
    KERNEL_COLLECTOR,
    LOG_LEVELS,
    PREFLIGHT,
    REDUCER,
    SETTINGS,
    UP,
    Setting,
    Settings,
)
from ebpf_net.settings.values import format_host_port

_LABELS = {
    "namespace": "agent_namespace",
    "environment": "agent_cluster",
    "cluster": "agent_cluster",
    "service": "agent_service",
    "host": "agent_host",
    "zone": "agent_zone",
}
"""``labels:`` of the reference's configuration file."""


_NOT_IN_FILES = ("config_file", "print_config")


@dataclass(frozen=True)
class CommandHelp:
    """What ``--help`` says beside the flags."""

    summary: str
    examples: tuple[tuple[str, str], ...]


HELP: Mapping[str, CommandHelp] = {
    KERNEL_COLLECTOR: CommandHelp(
        "Watch the sockets of this machine from inside its kernel and send what they "
        "do to a reducer.",
        (
            ("kernel-collector --log-console", "to a reducer on this machine"),
            (
                "EBPF_NET_INTAKE_HOST=reducer.example kernel-collector",
                "to a reducer elsewhere",
            ),
            (
                "kernel-collector --include-cgroup '/system.slice/*'",
                "only system services",
            ),
        ),
    ),
    K8S_COLLECTOR: CommandHelp(
        "Watch a Kubernetes cluster's API and send who is who in it to a reducer.",
        (
            ("k8s-collector --log-console", "in a pod, or with ~/.kube/config"),
            (
                "KUBECONFIG=admin.conf k8s-collector --cluster-name production",
                "from outside the cluster",
            ),
            (
                "k8s-collector --allow-label 'app.kubernetes.io/*'",
                "with some labels of pods",
            ),
        ),
    ),
    CLOUD_COLLECTOR: CommandHelp(
        "Ask the APIs of clouds who has which address and send it to a reducer.",
        (
            ("cloud-collector --log-console", "the clouds with credentials here"),
            (
                "cloud-collector --aws-role-arn arn:aws:iam::123456789012:role/names",
                "another account",
            ),
            ("cloud-collector --allow-tag team", "with a tag of instances"),
        ),
    ),
    REDUCER: CommandHelp(
        "Take what collectors send, match both ends of every flow, and hand metrics "
        "to Prometheus and OpenTelemetry.",
        (
            ("reducer --log-console", "scrape http://127.0.0.1:7010/metrics"),
            (
                "reducer --enable-otlp-grpc-metrics --otlp-grpc-metrics-host collector",
                "push to an OpenTelemetry Collector",
            ),
            (
                "reducer --listen-host :: --intake-token-file /etc/ebpf-net/token",
                "listen for other hosts",
            ),
        ),
    ),
    UP: CommandHelp(
        "Run everything on this machine: collector, reducer, live table and "
        "Prometheus endpoint.",
        (
            ("ebpf-net up", "a live table of who talks to whom"),
            ("ebpf-net up --sort retransmits", "worst paths first"),
            ("ebpf-net up --output json | jq .", "a JSON object for each edge"),
        ),
    ),
    PREFLIGHT: CommandHelp(
        "Tell which signals this kernel can give, how, and what to do about the rest.",
        (
            ("ebpf-net preflight", "a table"),
            ("ebpf-net preflight --output json", "for programs"),
        ),
    ),
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SettingError(message, f"see {self.prog} --help")


def command_line() -> tuple[str, list[str]]:
    """Return the program's name and its arguments."""
    return Path(sys.argv[0]).name, sys.argv[1:]


def default_environment(variable: str, value: str) -> None:
    """Set a variable that a library reads when it is loaded, unless the user has."""
    os.environ.setdefault(variable, value)


def environment() -> dict[str, str]:
    """Return the environment, for programs that are started."""
    return dict(os.environ)


def load(
    command: str,
    arguments: Sequence[str],
    *,
    program: str = "",
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Return the settings in force for ``command``.

    Prints and exits for ``--help`` and ``--version``. Raises SettingError with the
    name, the value and what was expected for anything that cannot be right.
    """
    environment = os.environ if environment is None else environment
    rows = [row for row in SETTINGS if command in row.commands]
    flags = vars(_parser(command, program or command, rows).parse_args(arguments))
    values: dict[str, Any] = {}
    for row in rows:
        if row.variable and environment.get(row.variable, "") != "":
            values[row.name] = _from_text(
                row, environment[row.variable], row.variable, split=True
            )
    for row in rows:
        given = flags.get(row.name)
        if given is not None:
            values[row.name] = _from_flag(row, given)
    config_file = values.get("config_file")
    if config_file is not None:
        values = _from_file(config_file, rows) | values
    if flags.get("level"):
        values["log_level"] = flags["level"]
    return Settings(
        **values,
        otel={k: v for k, v in environment.items() if k.startswith("OTEL_")},
        notices=tuple(dict.fromkeys(flags.get("obsolete") or ())),
    )


def _parser(command: str, program: str, rows: Sequence[Setting]) -> _Parser:
    text = HELP[command]
    width = max(len(line) for line, _ in text.examples)
    examples = "\n".join(f"  {line:<{width}}  {why}" for line, why in text.examples)
    parser = _Parser(
        prog=program,
        description=text.summary,
        epilog=f"examples:\n{examples}\n\nA flag beats its variable, a variable beats "
        "the configuration file.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action=_Version, nargs=0, help="show the version and exit"
    )
    for row in rows:
        _add_flag(parser, row)
    for level in LOG_LEVELS:
        parser.add_argument(
            f"--{level}", dest="level", action="store_const", const=level,
            help=argparse.SUPPRESS,
        )  # fmt: skip
    for flag in OBSOLETE:
        parser.add_argument(
            flag, action=_Obsolete, nargs=0 if flag in OBSOLETE_SWITCHES else "?",
            help=argparse.SUPPRESS,
        )  # fmt: skip
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"ebpf-net {version('ebpf-net')}")
        parser.exit()


class _Obsolete(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 - argparse's signature
        namespace: argparse.Namespace,
        values: object,  # noqa: ARG002
        option_string: str | None = None,
    ) -> None:
        notices = getattr(namespace, "obsolete", None) or []
        flag = option_string or ""
        notices.append(f"{flag} has no effect any more; instead: {OBSOLETE[flag]}")
        namespace.obsolete = notices


def _add_flag(parser: argparse.ArgumentParser, row: Setting) -> None:
    help_text = row.help.replace("%", "%%")
    if row.repeatable:
        help_text += " Repeatable."
    default = row.shown_default
    if default:
        help_text += f" [default: {default}]"
    if row.variable:
        help_text += f" ({row.variable})"
    names = (row.flag, *row.aliases)
    if row.kind == "boolean":
        parser.add_argument(
            *names, dest=row.name, action="store_const", const="true", help=help_text
        )
    elif row.repeatable:
        parser.add_argument(
            *names, dest=row.name, action="append", metavar=row.metavar, help=help_text
        )
    else:
        parser.add_argument(*names, dest=row.name, metavar=row.metavar, help=help_text)


def _from_flag(row: Setting, given: object) -> object:
    if row.repeatable:
        assert isinstance(given, list)
        return tuple(_from_text(row, text, row.flag) for text in given)
    return _from_text(row, str(given), row.flag)


def _from_text(row: Setting, text: str, origin: str, *, split: bool = False) -> object:
    """Parse ``text``; a repeatable setting's variable holds its values with commas."""
    try:
        if row.repeatable and split:
            return tuple(row.parse(part) for part in text.split(",") if part)
        return row.parse(text)
    except ValueError as error:
        raise SettingError(f"{origin} is '{text}', expected {error}") from None


def _from_file(path: Path, rows: Sequence[Setting]) -> dict[str, Any]:
    import yaml  # noqa: PLC0415 - 2.5 MB that a collector without a file need not hold

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = " ".join(str(error).split())
        raise SettingError(f"{path} is not YAML: {line}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise SettingError(f"{path} is not a mapping of settings")
    known = {row.key: row for row in rows if row.name not in _NOT_IN_FILES}
    values = {}
    for key, value in _flat(document).items():
        row = known.get(key)
        if row is None:
            raise SettingError(
                f"{path} has an unknown setting '{key}'",
                f"known: {', '.join(sorted(known))}",
            )
        values[row.name] = _from_yaml(row, value, f"{path}: {key}")
    return values


def _flat(document: Mapping[Any, Any]) -> dict[str, Any]:
    """Bring the reference's ``labels:`` and ``intake:`` sections to plain keys."""
    flat: dict[str, Any] = {}
    for key, value in document.items():
        if key == "labels" and isinstance(value, dict):
            flat |= {_LABELS.get(k, f"labels.{k}"): v for k, v in value.items()}
        elif key == "intake" and isinstance(value, dict):
            flat |= {f"intake_{k}": v for k, v in value.items()}
        else:
            flat[str(key).replace("-", "_")] = value
    return flat


def _from_yaml(row: Setting, value: object, origin: str) -> object:
    if isinstance(value, bool):
        value = "true" if value else "false"
    if row.repeatable and isinstance(value, list):
        return tuple(str(_from_text(row, str(item), origin)) for item in value)
    if isinstance(value, list):
        value = ",".join(str(item) for item in value)
    return _from_text(row, str(value), origin, split=True)


def to_yaml(settings: Settings, command: str) -> str:
    """Return the settings in force as a configuration file. Token files are paths."""
    import yaml  # noqa: PLC0415 - see _from_file

    document: dict[str, object] = {}
    for row in SETTINGS:
        if command not in row.commands or row.name in _NOT_IN_FILES:
            continue
        value = getattr(settings, row.name)
        if isinstance(value, tuple) and value and isinstance(value[-1], int):
            value = format_host_port(*value)
        if isinstance(value, tuple):
            value = list(value)
        if value is None:
            continue
        document[row.key] = str(value) if isinstance(value, Path) else value
    return yaml.safe_dump(document, sort_keys=False, default_flow_style=False)
