from tests.world.hosts import Network
from tests.world.nginx import Nginx, run_wrk


def test_wrk_makes_the_number_of_requests_asked_for(network: Network) -> None:
    server, client = network.host("server"), network.host("client")
    nginx = Nginx(server, 8080, body_bytes=1000)
    run_wrk(nginx, client, server.address, threads=4, requests=500, close=False)
    log = nginx.read_access_log()
    assert log.requests == 4 * 500
    assert log.bytes_sent > 4 * 500 * 1000
    assert (
        nginx.count_accepted() == 4 + 1
    )  # wrk tries the address once before it starts
