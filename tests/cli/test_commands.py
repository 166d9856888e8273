import subprocess
import sys

import pytest


def run(*arguments, **more):
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from ebpf_net.cli import main; sys.exit(main())",
            *arguments,
        ],
        capture_output=True,
        text=True,
        check=False,
        **more,
    )


@pytest.mark.parametrize("arguments", [("--help",), ("help",)])
def test_help_names_the_commands(arguments):
    done = run(*arguments)
    assert done.returncode == 0
    for command in ("up", "kernel-collector", "reducer", "preflight"):
        assert f"  {command} " in done.stdout


def test_unknown_command_is_one_line_and_a_hint():
    done = run("upp")
    assert done.returncode == 1
    assert done.stderr == (
        "error: 'upp' is no command\n"
        "hint: one of cloud-collector, k8s-collector, kernel-collector, preflight, "
        "reducer, up\n"
    )


def test_bad_setting_is_one_line_and_no_traceback():
    done = run("reducer", "--port", "80a")
    assert done.returncode == 1
    assert done.stderr == "error: --port is '80a', expected a port number\n"


def test_print_config_is_a_configuration_file():
    done = run("kernel-collector", "--print-config", "--intake-host", "r")
    assert done.returncode == 0
    assert "intake_host: r\n" in done.stdout
