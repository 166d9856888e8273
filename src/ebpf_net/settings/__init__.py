"""What the user says: flags, variables and the configuration file.

A flag beats a variable, a variable beats the file, the file beats the default. No
other package reads ``sys.argv`` or ``os.environ``.
"""

from ebpf_net.settings.load import (
    HELP,
    command_line,
    default_environment,
    environment,
    load,
    to_yaml,
)
from ebpf_net.settings.obsolete import OBSOLETE
from ebpf_net.settings.table import (
    CLOUD_COLLECTOR,
    K8S_COLLECTOR,
    KERNEL_COLLECTOR,
    PREFLIGHT,
    REDUCER,
    SETTINGS,
    UP,
    Setting,
    Settings,
)

__all__ = (
    "CLOUD_COLLECTOR",
    "HELP",
    "K8S_COLLECTOR",
    "KERNEL_COLLECTOR",
    "OBSOLETE",
    "PREFLIGHT",
    "REDUCER",
    "SETTINGS",
    "UP",
    "Setting",
    "Settings",
    "command_line",
    "default_environment",
    "environment",
    "load",
    "to_yaml",
)
