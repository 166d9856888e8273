"""Where the log goes: a rotating file, the console, or both."""

from __future__ import annotations

import logging
import sys
import time

from ebpf_net.cli.log_file import SharedLogFile
from ebpf_net.settings import UP, Settings

TRACE = 5
_MAX_BYTES = 1 << 20
_BACKUPS = 4
_LEVELS = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}


class _Formatter(logging.Formatter):
    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"


def configure_logging(settings: Settings, command: str) -> None:
    """Set up the root logger. A log file that cannot be written is said, not fatal."""
    logging.addLevelName(TRACE, "TRACE")
    formatter = _Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handlers: list[logging.Handler] = []
    refused = ""
    if settings.log_console:
        handlers.append(logging.StreamHandler(sys.stderr))
    if not settings.no_log_file:
        try:
            handlers.append(SharedLogFile(settings.log_file_path, _MAX_BYTES, _BACKUPS))
        except OSError as error:
            refused = f"cannot log to {settings.log_file_path}: {error.strerror}"
    if not handlers:
        fallback = logging.StreamHandler(sys.stderr)
        fallback.setLevel(logging.WARNING if command != UP else logging.ERROR)
        handlers.append(fallback)
    for handler in handlers:
        handler.setFormatter(formatter)
    logging.basicConfig(
        level=_LEVELS[settings.log_level], handlers=handlers, force=True
    )
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    logger = logging.getLogger("ebpf_net")
    if refused:
        logger.warning("%s", refused)
    for notice in settings.notices:
        logger.warning("%s", notice)
        if not settings.log_console:
            print(f"note: {notice}", file=sys.stderr)
