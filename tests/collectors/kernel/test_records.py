import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ebpf_net.collectors.kernel.records import (
    TCP_RECORD,
    UDP_KEY,
    UDP_VALUE,
    TcpFlag,
    UdpDrop,
)

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("dtype", "size"), [(TCP_RECORD, 144), (UDP_KEY, 48), (UDP_VALUE, 96)]
)
def test_layouts_have_the_sizes_that_the_headers_assert(
    dtype: np.dtype, size: int
) -> None:
    assert dtype.itemsize == size
    assert sum(dtype[name].itemsize for name in dtype.names or ()) == size


def test_flags_are_bits() -> None:
    assert sum(TcpFlag) == (1 << len(TcpFlag)) - 1


def test_drops_have_a_column_for_each_reason() -> None:
    assert UDP_VALUE["drops"].shape == (UdpDrop.REASONS,)


def test_generated_file_is_fresh() -> None:
    script = ROOT / "scripts/gen_records.py"
    subprocess.run([sys.executable, script, "--check"], check=True)
