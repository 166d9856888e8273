import subprocess
import sys

import pytest

from ebpf_net.cli.data_directory import locked_data_directory
from ebpf_net.errors import EnvironmentFault

HOLDER = """
import sys
from pathlib import Path
from ebpf_net.cli.data_directory import locked_data_directory
with locked_data_directory(Path(sys.argv[1]), "reducer"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_second_copy_is_refused_with_the_first_ones_process_id(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(EnvironmentFault, match=f"process id {holder.pid} already"),
            locked_data_directory(tmp_path, "reducer"),
        ):
            pass
        holder.kill()
    with locked_data_directory(tmp_path, "reducer"):
        pass


def test_another_command_may_share_the_directory(tmp_path):
    with (
        locked_data_directory(tmp_path, "reducer"),
        locked_data_directory(tmp_path, "kernel-collector"),
    ):
        assert (tmp_path / "reducer.lock").exists()


def test_directory_that_cannot_be_made_is_one_clear_error(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with (
        pytest.raises(EnvironmentFault, match="cannot use the data directory"),
        locked_data_directory(file / "data", "reducer"),
    ):
        pass
