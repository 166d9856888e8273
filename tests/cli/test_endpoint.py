import socket
import urllib.request

import pytest

from ebpf_net.cli.endpoint import Endpoint
from ebpf_net.errors import EnvironmentFault
from ebpf_net.exporters.prometheus import metrics_app

APPLICATION = metrics_app(lambda openmetrics: b"# EOF\n" if openmetrics else b"up 1\n")


def test_any_number_of_scrapers_get_the_same():
    endpoint = Endpoint(APPLICATION, ("127.0.0.1", 0), "--prom")
    host, port = endpoint.address
    try:
        for _ in range(3):
            with urllib.request.urlopen(f"http://{host}:{port}/metrics") as answer:
                assert answer.read() == b"up 1\n"
    finally:
        endpoint.close()


def test_ipv6_address_is_listened_on():
    endpoint = Endpoint(APPLICATION, ("::1", 0), "--prom")
    endpoint.close()
    assert endpoint.address[0] == "::1"


def test_port_in_use_names_the_flag():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(EnvironmentFault) as caught:
            Endpoint(APPLICATION, ("127.0.0.1", port), "--prom")
    assert str(caught.value) == f"--prom: port {port} on 127.0.0.1 is in use"
    assert caught.value.hint == (
        "stop the program that has it, or choose another with --prom HOST:PORT"
    )


def test_name_that_is_no_address_is_one_clear_error():
    with pytest.raises(EnvironmentFault, match="is no address"):
        Endpoint(APPLICATION, ("127.0.0.300", 7010), "--prom")
