"""Requests to an intake server, and what it counted."""

import http.client
import json
import time

from ebpf_net.intake.batch import CONTENT_TYPE, PATH
from ebpf_net.intake.headers import to_headers


def request(server, method, path=PATH, body=None, headers=(), tls=None):
    host = "127.0.0.1"
    if tls is None:
        connection = http.client.HTTPConnection(host, server.port, timeout=20)
    else:
        connection = http.client.HTTPSConnection(
            "localhost", server.port, timeout=20, context=tls
        )
    try:
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        return response.status, response.headers, json.loads(response.read())
    finally:
        connection.close()


def headers_of(batch, **changes):
    return {
        **to_headers(batch.header, time.time_ns()),
        "Content-Type": CONTENT_TYPE,
        "Content-Encoding": "zstd",
        **changes,
    }


def post(server, batch, tls=None, **changes):
    return request(
        server, "POST", body=batch.body, headers=headers_of(batch, **changes), tls=tls
    )


def metric(server, name, *labels):
    points = {(point.name, point.labels): point.value for point in server.metrics()}
    return points.get((f"ebpf_net.intake.{name}", labels), 0)


def refused(server, reason):
    return metric(server, "refused", ("reason", reason))
