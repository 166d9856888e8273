import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from tests.world.prometheus import run_prometheus


class _Metrics(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(b'# TYPE tcp_bytes counter\ntcp_bytes{dest_id="b"} 42\n')

    def log_message(self, *arguments: object) -> None:
        pass


def test_a_scraped_value_can_be_queried(tmp_path: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), _Metrics) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        target = f"127.0.0.1:{server.server_port}"
        with run_prometheus(tmp_path, [target]) as prometheus:
            prometheus.wait_until(lambda p: p.value("sum(tcp_bytes)") == 42)
            (series,) = prometheus.query('tcp_bytes{dest_id="b"}')
            assert series.labels["instance"] == target
            assert prometheus.metadata()["tcp_bytes"][0]["type"] == "counter"
        server.shutdown()
