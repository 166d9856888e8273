from collections import Counter

from ebpf_net.settings import KERNEL_COLLECTOR, PREFLIGHT, REDUCER, SETTINGS, UP


def test_flags_are_unique_within_a_command():
    for command in (KERNEL_COLLECTOR, REDUCER, UP, PREFLIGHT):
        rows = [row for row in SETTINGS if command in row.commands]
        flags = Counter(flag for row in rows for flag in (row.flag, *row.aliases))
        assert [flag for flag, count in flags.items() if count > 1] == []


def test_variables_are_unique():
    variables = Counter(row.variable for row in SETTINGS if row.variable)
    assert [name for name, count in variables.items() if count > 1] == []


def test_names_in_use_by_the_reference_stay():
    flags = {flag for row in SETTINGS for flag in (row.flag, *row.aliases)}
    variables = {row.variable for row in SETTINGS}
    assert {"--log-console", "--console-log", "--no-log-file", "--port", "-p"} <= flags
    assert {"--enable-otlp-grpc-metrics", "--enable-id-id", "--prom"} <= flags
    assert {
        "EBPF_NET_INTAKE_HOST",
        "EBPF_NET_INTAKE_PORT",
        "EBPF_NET_HOST_DIR",
        "EBPF_NET_DATA_DIR",
        "EBPF_NET_LOG_FILE_PATH",
        "EBPF_NET_AGENT_ZONE",
    } <= variables


def test_defaults_are_shown_as_one_writes_them():
    rows = {row.name: row for row in SETTINGS}
    names = ("ring_bytes", "prom", "up_port", "log_console", "intake_ca", "sort")
    shown = [rows[name].shown_default for name in names]
    assert shown == ["4M", "127.0.0.1:7010", "0", "", "", "bytes"]
    metavars = [rows[name].metavar for name in names[:3]]
    assert metavars == ["SIZE", "HOST:PORT", "PORT"]
