import os

import pytest

from ebpf_net.collectors.kernel.instance_metadata_files import read_regular


def test_a_file_is_read_up_to_a_bound(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100_000)
    assert read_regular(path, 1 << 20) == b"x" * 100_000
    assert read_regular(path, 10) == b"x" * 10
    assert read_regular(path, 0) == b""


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, tmp_path / "none"):
        with pytest.raises(OSError, match=r"no regular file|No such file"):
            read_regular(path, 10)
