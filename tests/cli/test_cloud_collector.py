import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ebpf_net.cli.cloud_collector import (
    chosen_clouds,
    collector_options,
    make_providers,
)
from ebpf_net.errors import SettingError
from ebpf_net.settings import CLOUD_COLLECTOR, load

PROGRAM = "import sys; from ebpf_net.cli import main; sys.exit(main())"
ROLE = "arn:aws:iam::123456789012:role/names"


def settings(*arguments, **environment):
    return load(CLOUD_COLLECTOR, arguments, environment=environment)


def test_needs_no_sdk_until_a_cloud_is_chosen():
    script = (
        "import sys, ebpf_net.cli.cloud_collector; "
        "print(sorted({'pyarrow', 'duckdb', 'grpc', 'rich', 'uvicorn', 'starlette',"
        " 'ebpf_net.collectors.kernel.libbpf', 'botocore', 'google', 'azure'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_aws_needs_no_sdk_of_another_cloud():
    script = (
        "import sys; from ebpf_net.cli import cloud_collector as c; "
        "from ebpf_net.settings import load; "
        "c.make_providers(load('cloud-collector', ['--provider', 'aws'],"
        " environment={}), {}, ''); "
        "print(sorted({'google', 'azure', 'boto3'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_the_references_flags_are_what_they_were():
    options = collector_options(settings("--ec2-poll-interval-ms", "5000"))
    assert options.poller.interval_seconds == 5.0
    assert settings("--aws-timeout", "3000").api_timeout_ms == 3000


def test_an_interval_of_a_minute_is_the_default():
    options = collector_options(settings())
    assert options.poller.interval_seconds == 60.0
    assert options.interval_seconds == 10.0


def test_a_named_cloud_is_asked_whatever_credentials_there_are():
    chosen = settings("--provider", "gcp", "--provider", "aws")
    assert chosen_clouds(chosen, {"AZURE_CLIENT_ID": "x"}, "") == ["aws", "gcp"]


def test_auto_asks_the_clouds_at_hand_and_those_with_scopes():
    variables = {"AZURE_CLIENT_ID": "x"}
    assert chosen_clouds(settings(), variables, "gcp") == ["gcp", "azure"]
    named = settings("--provider", "auto", "--provider", "gcp")
    assert chosen_clouds(named, variables, "") == ["gcp", "azure"]
    assert chosen_clouds(settings("--aws-role-arn", ROLE), {}, "") == ["aws"]
    assert chosen_clouds(settings("--gcp-project", "p"), {}, "") == ["gcp"]
    assert chosen_clouds(settings("--azure-subscription", "s"), {}, "") == ["azure"]


def test_without_any_cloud_there_is_nothing_to_do():
    with pytest.raises(SettingError, match="no credentials of a cloud"):
        chosen_clouds(settings(), {}, "")


def test_each_role_is_a_provider():
    chosen = settings("--aws-role-arn", "self", "--aws-role-arn", ROLE)
    assert [one.name for one in make_providers(chosen, {}, "")] == [
        "aws",
        f"aws {ROLE}",
    ]


def start(tmp_path, *arguments, **environment):
    variables = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    variables |= {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}
    return subprocess.Popen(
        [
            *(sys.executable, "-W", "error", "-c", PROGRAM, "cloud-collector"),
            *("--data-dir", str(tmp_path / "data"), "--no-log-file", *arguments),
        ],
        env=variables | environment,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(
    Path("/sys/class/dmi/id/sys_vendor").exists()
    and "Amazon" in Path("/sys/class/dmi/id/sys_vendor").read_text(),
    reason="this machine is in AWS",
)
def test_without_credentials_it_is_one_line_and_exit_code_1(tmp_path):
    started = start(tmp_path)
    _, said = started.communicate(timeout=30)
    assert started.returncode == 1
    assert said == (
        "error: no credentials of a cloud were found\n"
        "hint: say which cloud with --provider aws, gcp or azure\n"
    )


def test_a_cloud_that_is_away_ends_nothing_and_an_end_is_orderly(tmp_path):
    started = start(
        tmp_path,
        *("--provider", "aws", "--log-console", "--aws-timeout", "1000"),
        AWS_ENDPOINT_URL="http://127.0.0.1:1",
        AWS_ACCESS_KEY_ID="x",
        AWS_SECRET_ACCESS_KEY="y",
    )
    assert started.stderr is not None
    lines = iter(started.stderr.readline, "")
    assert any("Could not connect to the endpoint URL" in one for one in lines)
    started.send_signal(signal.SIGTERM)
    started.communicate(timeout=30)
    assert started.returncode == 0
