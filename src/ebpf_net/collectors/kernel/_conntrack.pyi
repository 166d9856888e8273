# The module that _conntrack_build.py compiles; its C functions have no Python types.
from typing import Any

ffi: Any
lib: Any
