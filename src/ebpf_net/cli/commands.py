"""From the command line to a running command, and its exit code.

0: ended as asked; 1: the user or the host has to change something, told in one line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from typing import cast

from ebpf_net.cli.logs import configure_logging
from ebpf_net.errors import EbpfNetError
from ebpf_net.settings import (
    CLOUD_COLLECTOR,
    HELP,
    K8S_COLLECTOR,
    KERNEL_COLLECTOR,
    PREFLIGHT,
    REDUCER,
    UP,
    Settings,
    command_line,
    default_environment,
    load,
    to_yaml,
)

_MODULES = {
    KERNEL_COLLECTOR: "ebpf_net.cli.collector",
    K8S_COLLECTOR: "ebpf_net.cli.kubernetes_collector",
    CLOUD_COLLECTOR: "ebpf_net.cli.cloud_collector",
    REDUCER: "ebpf_net.cli.reducer",
    UP: "ebpf_net.cli.up",
    PREFLIGHT: "ebpf_net.cli.preflight",
}
"""Each has ``run(settings: Settings) -> int``. Imported late: the collector's process
must not load what only the reducer needs."""


_EXTRA_PACKAGES = {
    "msgspec": "kubernetes",
    **dict.fromkeys(
        (
            "azure", "botocore", "google", "google_auth_httplib2", "googleapiclient",
            "httplib2",
        ),
        "cloud",
    ),
    **dict.fromkeys(
        (
            "duckdb", "grpc", "httptools", "maxminddb", "pyarrow", "rich", "starlette",
            "uvicorn",
        ),
        "reducer",
    ),
}  # fmt: skip
"""What brings a package that not every command needs."""


_SHOWN = (
    UP,
    KERNEL_COLLECTOR,
    K8S_COLLECTOR,
    CLOUD_COLLECTOR,
    REDUCER,
    PREFLIGHT,
)


def main() -> int:
    """Run ``ebpf-net COMMAND``."""
    program, arguments = command_line()
    if arguments[:1] == ["--version"]:
        print(f"ebpf-net {version('ebpf-net')}")
        return 0
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_usage(program))
        return 0 if arguments else 1
    command = arguments[0]
    if command not in _MODULES:
        return _complain(
            EbpfNetError(
                f"'{command}' is no command", f"one of {', '.join(sorted(_MODULES))}"
            )
        )
    return run_command(command, arguments[1:], f"{program} {command}")


def kernel_collector_main() -> int:
    """Run ``kernel-collector``."""
    program, arguments = command_line()
    return run_command(KERNEL_COLLECTOR, arguments, program)


def k8s_collector_main() -> int:
    """Run ``k8s-collector``."""
    program, arguments = command_line()
    return run_command(K8S_COLLECTOR, arguments, program)


def cloud_collector_main() -> int:
    """Run ``cloud-collector``."""
    program, arguments = command_line()
    return run_command(CLOUD_COLLECTOR, arguments, program)


def reducer_main() -> int:
    """Run ``reducer``."""
    program, arguments = command_line()
    return run_command(REDUCER, arguments, program)


def run_command(command: str, arguments: Sequence[str], program: str) -> int:
    """Return the exit code of ``command``; errors are told in one line."""
    try:
        settings = load(command, arguments, program=program)
        if settings.print_config:
            print(to_yaml(settings, command), end="")
            return 0
        configure_logging(settings, command)
        if command in (KERNEL_COLLECTOR, K8S_COLLECTOR, CLOUD_COLLECTOR):
            # NumPy's linear algebra, which is not used, would start threads that keep
            # the capabilities, and reserve memory for them.
            default_environment("OPENBLAS_NUM_THREADS", "1")
        run = cast("Callable[[Settings], int]", import_module(_MODULES[command]).run)
        return run(settings)
    except EbpfNetError as error:
        return _complain(error)
    except ModuleNotFoundError as error:
        extra = _EXTRA_PACKAGES.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        return _complain(
            EbpfNetError(
                f"{command} needs the Python package '{error.name}'",
                f"install ebpf-net[{extra}]",
            )
        )
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter must not write to it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _complain(error: EbpfNetError) -> int:
    print(f"error: {error}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)
    return 1


def _usage(program: str) -> str:
    width = max(len(command) for command in _MODULES)
    lines = [
        f"usage: {program} COMMAND [--flags]",
        "",
        "Who talks to whom, how much and how well, seen from inside the Linux kernel.",
        "",
        "commands:",
        *(f"  {command:<{width}}  {HELP[command].summary}" for command in _SHOWN),
        "",
        "examples:",
        f"  {program} up                  # watch this machine, live",
        f"  {program} preflight           # what this kernel can tell",
        f"  {program} COMMAND --help      # flags, variables, examples",
    ]
    return "\n".join(lines)
