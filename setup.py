"""The compiled parts of the wheel: BPF object, binding to libbpf, conntrack's reader.

All else about the package is in pyproject.toml.
"""

import runpy
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

KERNEL = Path("src/ebpf_net/collectors/kernel")


class BuildWithBpf(build_py):
    """Compile the BPF programs into package data before the modules are copied."""

    def run(self) -> None:
        """Build it in the source tree: an editable install reads it there."""
        try:
            runpy.run_path("bpf/build.py")["build"](KERNEL / "kernel.bpf.o")
        except Exception as error:
            # Setuptools cannot tell of an error whose traceback has braces in it.
            raise SystemExit(f"error: {error}") from error
        runpy.run_path(f"{KERNEL}/_conntrack_build.py")["build_program"]()
        super().run()


setup(
    cmdclass={"build_py": BuildWithBpf},
    cffi_modules=[
        f"{KERNEL}/_libbpf_build.py:ffibuilder",
        f"{KERNEL}/_conntrack_build.py:ffibuilder",
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
