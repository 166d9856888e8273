# The module that _libbpf_build.py compiles; its C functions have no Python types.
from typing import Any

ffi: Any
lib: Any
