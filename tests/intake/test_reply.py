import pytest

from ebpf_net.intake.options import ClientOptions
from ebpf_net.intake.reply import Reply

OPTIONS = ClientOptions(refused_backoff_seconds=30, max_retry_after_seconds=300)


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_refusal_is_for_good(status):
    assert Reply(status, b"").is_refusal


@pytest.mark.parametrize("status", [200, 302, 401, 403, 404, 408, 409, 429, 500, 503])
def test_everything_else_is_tried_again(status):
    assert not Reply(status, b"").is_refusal


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"error": "no frame", "reason": "zstd"}', "400 zstd: no frame"),
        (b'{"error": "a\\nb", "reason": "zstd"}', "400 zstd: a b"),
        (b"<html>\r\n Bad</html>", "400 <html> Bad</html>"),
        (b"[1]", "400 [1]"),
        (b"", "400"),
    ],
)
def test_text_is_one_line(body, text):
    assert Reply(400, body).text == text


def test_long_text_is_cut():
    assert len(Reply(400, b"x" * 60_000).text) < 300


@pytest.mark.parametrize(
    ("status", "retry_after", "least", "most"),
    [
        (503, 7.0, 7, 7),
        (429, 1e9, 300, 300),
        (503, None, 0, 0),
        (500, 7.0, 0, 0),
        (401, None, 15, 30),
        (403, None, 15, 30),
    ],
)
def test_wait_is_what_the_reducer_asks_for(status, retry_after, least, most):
    assert least <= Reply(status, b"", retry_after).least_wait(OPTIONS) <= most
