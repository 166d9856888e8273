"""Boot Debian's kernels in an emulator and tell what the collector sees on each."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.kernels.debian import SUITES, Suite
from tests.kernels.initramfs import ROOT, write_initramfs
from tests.kernels.machine import BootError, run_kernel

Documents = list[dict[str, Any]]


def main() -> int:
    """1 if a check told something else than was done, 2 if a kernel did not run."""
    arguments = parse_arguments()
    documents: Documents = []
    try:
        if arguments.here:
            documents.append(run_here())
        documents += boot_each(arguments)
    except (BootError, OSError, LookupError, subprocess.SubprocessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if arguments.output == "json":
        print(json.dumps(documents, indent=2))
    else:
        print("\n".join(table(documents)))
    return int(any(each["result"] == "differs" for each in results(documents)))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/kernels", description=__doc__)
    parser.add_argument("kernels", nargs="*", help=f"of {', '.join(SUITES)}; or all")
    parser.add_argument("--here", action="store_true", help="also on this kernel")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    parser.add_argument(
        "--boot-flags", default="", help="such as lockdown=confidentiality"
    )
    parser.add_argument("--timeout-seconds", type=float, default=900)
    arguments = parser.parse_args()
    unknown = set(arguments.kernels) - set(SUITES)
    if unknown:
        parser.error(f"no such kernel: {', '.join(sorted(unknown))}")
    return arguments


def boot_each(arguments: argparse.Namespace) -> Documents:
    """Run the guest on each kernel, from one and the same file system."""
    documents = []
    with tempfile.TemporaryDirectory(prefix="ebpf-net-kernels-") as scratch:
        initramfs = Path(scratch) / "initramfs"
        write_initramfs(initramfs)
        for kernel in arguments.kernels or SUITES:
            image = Suite(SUITES[kernel]).fetch_kernel()
            print(f"kernels: {image.name}", file=sys.stderr)
            flags, seconds = arguments.boot_flags, arguments.timeout_seconds
            documents.append(run_kernel(image, initramfs, flags, seconds))
    return documents


def run_here() -> dict[str, Any]:
    """Run the guest in a network namespace of this kernel."""
    guest = f"ip link set lo up && exec {sys.executable} -m tests.kernels.guest"
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", guest],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    document = json.loads(done.stdout)
    assert isinstance(document, dict)
    return document


def results(documents: Documents) -> Documents:
    """What was compared, of all kernels."""
    return [each for one in documents for each in one["ways"] + one["checks"]]


def table(documents: Documents) -> list[str]:
    """A line for each signal, way and check, and a column for each kernel."""
    rows = [["", *(one["kernel"] for one in documents)]]
    for name in documents[0]["signals"]:
        attached = ["attached" if one["signals"][name] else "-" for one in documents]
        rows.append([f"signal {name}", *attached])
    for part, label in (("ways", "tcp.state by "), ("checks", "")):
        for number, each in enumerate(documents[0][part]):
            found = [one[part][number]["result"] for one in documents]
            rows.append([label + each["check"], *found])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    remarks = [
        f"{one['kernel']}: {each['check']}: {each['remark']}"
        for one in documents
        for each in results([one])
        if each["result"] == "differs"
    ]
    return lines + remarks


if __name__ == "__main__":
    sys.exit(main())
