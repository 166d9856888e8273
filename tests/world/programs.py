"""Programs that a test starts and that end with it, each with its output in a file."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tests.world.waiting import wait_until


class Program:
    """One running program; as a context manager it is stopped at the end.

    Standard output and error go to ``log``. ``stop`` is SIGTERM, then SIGKILL.
    """

    def __init__(
        self,
        arguments: Sequence[str | Path],
        log: Path,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        output: Path | None = None,
    ) -> None:
        self.arguments = [str(argument) for argument in arguments]
        self.log = log
        self.output = output or log
        with log.open("ab") as errors, self.output.open("ab") as stdout:
            self.process = subprocess.Popen(
                self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=errors,
                env={**os.environ, **(environment or {})},
                cwd=directory,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def is_running(self) -> bool:
        return self.process.poll() is None

    def read_log(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_ready(
        self, condition: Callable[[], object], timeout_seconds: float = 30
    ) -> None:
        """Wait until ``condition()``; an early end of the program is an error."""

        def is_ready_or_over() -> bool:
            return not self.is_running() or bool(condition())

        wait_until(is_ready_or_over, timeout_seconds, self.describe)
        if not self.is_running():
            raise RuntimeError(self.describe())

    def wait(self, timeout_seconds: float = 60) -> str:
        """Wait for its end with success, and return its standard output."""
        status = self.process.wait(timeout_seconds)
        if status != 0:
            raise RuntimeError(self.describe())
        return self.output.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self, timeout_seconds: float = 20) -> int:
        """Ask it to end, insist after the timeout, and return its exit status."""
        if self.is_running():
            self.process.terminate()
        try:
            return self.process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def describe(self) -> str:
        """Return how it was called, whether it ended, and what it said last."""
        tail = "\n".join(self.read_log().splitlines()[-40:])
        status = self.process.poll()
        return f"{' '.join(self.arguments)} (exit status {status}) says:\n{tail}"

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.is_running():
            self.stop()
