"""The exceptions a user can meet.

EbpfNetError          cli.py prints the message and the hint, and exits with 1
├── SettingError      a flag, variable or configuration file that cannot be right
├── KernelError       the kernel refuses or lacks what the collector cannot do without
├── EnvironmentFault  the host is not as needed: rights, a port in use, a second copy
├── BatchError        bytes that are not a batch; counted where they are met
└── ExportError       a receiver refused or could not be reached
"""


class EbpfNetError(Exception):
    """A mistake of the user or the host: one line, and what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class SettingError(EbpfNetError):
    """A flag, a variable or the configuration file has a value that cannot be right."""


class KernelError(EbpfNetError):
    """The kernel refuses or lacks what the collector cannot do without."""


class EnvironmentFault(EbpfNetError):
    """The host is not as needed: missing rights, a port in use, a second copy."""


class BatchError(EbpfNetError):
    """Bytes that are not a batch. ``reason`` is the label of the counter."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ExportError(EbpfNetError):
    """A receiver refused a request or could not be reached.

    ``retryable`` and ``retry_after_seconds`` are what the receiver's answer says.
    """

    def __init__(
        self,
        message: str,
        *,
        retryable: bool,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.retry_after_seconds = retry_after_seconds
