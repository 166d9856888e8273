import subprocess
import sys
from importlib.metadata import version

import pytest

from ebpf_net.errors import SettingError
from ebpf_net.settings import (
    K8S_COLLECTOR,
    KERNEL_COLLECTOR,
    PREFLIGHT,
    REDUCER,
    UP,
    load,
    to_yaml,
)


def test_flag_beats_variable_beats_file_beats_default(tmp_path):
    file = tmp_path / "reducer.yaml"
    file.write_text("port: 1\nlateness_seconds: 3\nthreads: 2\n")
    settings = load(
        REDUCER,
        ["--config-file", str(file), "--port", "3"],
        environment={"EBPF_NET_PORT": "2", "EBPF_NET_THREADS": "4"},
    )
    assert settings.port == 3
    assert settings.threads == 4
    assert settings.lateness_seconds == 3.0
    assert settings.prom == ("127.0.0.1", 7010)


def test_labels_and_intake_sections_of_the_reference_are_read(tmp_path):
    file = tmp_path / "collector.yaml"
    file.write_text(
        "labels: {cluster: c1, zone: z1, host: h1}\nintake: {host: r, port: 9}\n"
    )
    settings = load(KERNEL_COLLECTOR, ["-c", str(file)], environment={})
    assert settings.agent_cluster == "c1"
    assert settings.agent_zone == "z1"
    assert settings.agent_host == "h1"
    assert (settings.intake_host, settings.intake_port) == ("r", 9)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"EBPF_NET_INTAKE_PORT": "80a"},
            "EBPF_NET_INTAKE_PORT is '80a', expected a port number",
        ),
        (
            {"EBPF_NET_DISABLE_UDP": "maybe"},
            "EBPF_NET_DISABLE_UDP is 'maybe', expected true or false",
        ),
    ],
)
def test_bad_variable_is_named_with_its_value(environment, message):
    with pytest.raises(SettingError) as caught:
        load(KERNEL_COLLECTOR, [], environment=environment)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prom", "7010"], "--prom is '7010', expected HOST:PORT"),
        (["--threads", "0"], "--threads is '0', expected a whole number of 1 or more"),
        (["--memory-limit", "x"], "--memory-limit is 'x', expected a size of 64M"),
        (["--lateness-seconds", "nan"], "--lateness-seconds is 'nan', expected a num"),
        (["--memory-limit", "5"], "--memory-limit is '5', expected a size of 64M or"),
        (["--listen-host", ""], "--listen-host is '', expected a name or an address"),
        (["--no-such-flag"], "unrecognized arguments: --no-such-flag"),
    ],
)
def test_bad_flag_is_named_with_its_value(arguments, message):
    with pytest.raises(SettingError, match=message):
        load(REDUCER, arguments, environment={})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--forbid-attach", "iter", "--forbid-attach", "bogus"],
            "--forbid-attach is 'bogus', expected one of tp_btf, fentry, iter, cgroup",
        ),
        (["--include-cgroup", ""], "--include-cgroup is '', expected a pattern"),
        (["--intake-host", ""], "--intake-host is '', expected a name or an address"),
    ],
)
def test_bad_flag_of_a_collector_is_named_with_its_value(arguments, message):
    with pytest.raises(SettingError) as caught:
        load(KERNEL_COLLECTOR, arguments, environment={})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("port: [", "is not YAML"),
        ("- 1", "is not a mapping"),
        ("prot: 1", "unknown setting 'prot'"),
        ("port: many", "port is 'many', expected a port number"),
    ],
)
def test_bad_file_is_one_clear_error(tmp_path, text, message):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(SettingError, match=message):
        load(REDUCER, ["--config-file", str(file)], environment={})


@pytest.mark.parametrize(
    "name", ["memory_limit_bytes", "reducer_output", "config_file", "print_config"]
)
def test_file_has_the_names_of_flags_only(tmp_path, name):
    file = tmp_path / "reducer.yaml"
    file.write_text(f"{name}: 1\n")
    with pytest.raises(SettingError, match=f"unknown setting '{name}'") as caught:
        load(REDUCER, ["--config-file", str(file)], environment={})
    known = caught.value.hint.removeprefix("known: ").split(", ")
    assert {"memory_limit", "output", "port"} <= set(known)
    assert name not in known


def test_help_shows_sizes_and_addresses_as_one_writes_them(capsys):
    with pytest.raises(SystemExit):
        load(REDUCER, ["--help"], environment={})
    text = " ".join(capsys.readouterr().out.split())
    assert "--prom HOST:PORT" in text
    assert "[default: 512M]" in text


def test_help_shows_what_may_be_chosen_and_what_may_be_repeated(capsys):
    with pytest.raises(SystemExit):
        load(KERNEL_COLLECTOR, ["--help"], environment={})
    text = " ".join(capsys.readouterr().out.split())
    assert "--forbid-attach {tp_btf,fentry,iter,cgroup} Attach" in text
    assert "older kernel would do. Repeatable. (EBPF_NET_FORBID_ATTACH)" in text
    assert "--include-cgroup PATTERN Collect" in text


@pytest.mark.parametrize(
    "command", [KERNEL_COLLECTOR, K8S_COLLECTOR, REDUCER, UP, PREFLIGHT]
)
def test_each_command_tells_its_version(command, capsys):
    with pytest.raises(SystemExit) as ended:
        load(command, ["--version"], environment={})
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"ebpf-net {version('ebpf-net')}\n"


def test_repeated_patterns_are_kept_in_order():
    settings = load(
        UP, ["--include-cgroup", "/a", "--include-cgroup", "/b,c"], environment={}
    )
    assert settings.include_cgroup == ("/a", "/b,c")


def test_flags_of_the_reference_are_answered_with_what_replaces_them():
    settings = load(
        REDUCER, ["--num-ingest-shards", "3", "--enable-flow-logs"], environment={}
    )
    assert settings.notices == (
        "--num-ingest-shards has no effect any more; instead: --threads",
        "--enable-flow-logs has no effect any more; instead: --output json",
    )


def test_printed_configuration_reads_back_the_same(tmp_path):
    given = [
        "--prom", "[::1]:99", "--debug", "--enable-id-id", "--memory-limit", "1G",
        "--disable-metrics", "udp.all,tcp.resets", "--output", "json",
    ]  # fmt: skip
    settings = load(REDUCER, given, environment={})
    file = tmp_path / "printed.yaml"
    file.write_text(to_yaml(settings, REDUCER))
    again = load(REDUCER, ["--config-file", str(file)], environment={})
    assert to_yaml(again, REDUCER) == to_yaml(settings, REDUCER)
    assert again.prom == ("::1", 99)
    assert again.memory_limit_bytes == 1 << 30


def test_otel_variables_are_handed_on():
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4318", "HOME": "/"}
    assert load(REDUCER, [], environment=environment).otel == {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4318"
    }


def test_help_has_examples():
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            "from ebpf_net.settings import load; load('up', ['--help'])",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "examples:" in run.stdout
    assert "ebpf-net up --sort retransmits" in run.stdout
