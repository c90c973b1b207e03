"""Plain requests: what is read without gunicorn's parser is what gunicorn would have read."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http import RequestParser, wsgi
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.raw_requests import lines, requests
from webcall.serving.plain_requests import PlainReader, PlainRequest

PROXY, STRANGER = ("127.0.0.1", 40000), ("192.0.2.7", 40001)
SERVER = ("127.0.0.1", 8080)
# Objects that are each request's own, and what gunicorn offers beyond WSGI; the body is compared by itself.
NOT_COMPARED = {"wsgi.input", "wsgi.errors", "gunicorn.socket", "wsgi.early_hints"}


def config(**changed: Any) -> Config:
    """Return gunicorn's settings as gunicorn.conf.py has them."""
    cfg = Config()
    for name, value in {"workers": 2, "threads": 8, "limit_request_field_size": 65536, **changed}.items():
        cfg.set(name, value)
    return cfg


CONFIG = config()
READER = PlainReader(CONFIG)


@dataclass(frozen=True)
class Read:
    """What has been read of a request."""

    environ: dict[str, Any]
    body: bytes
    used: int
    closes: bool


def plainly(sent: bytes, client: Any = PROXY, reader: PlainReader = READER) -> Read | None:
    request = reader.read(sent, SimpleNamespace(client=client, server=SERVER, sock=None))
    if request is None:
        return None
    body = request.environ["wsgi.input"]
    assert isinstance(request, PlainRequest)
    assert isinstance(body, io.BytesIO)
    return Read(compared(request.environ), body.read(), request.length, request.should_close())


def by_gunicorn(sent: bytes, client: Any, cfg: Config = CONFIG) -> Read:
    parser = RequestParser(cfg, iter([sent]), client)
    request = next(parser)
    _, environ = wsgi.create(request, None, client, SERVER, cfg)
    environ["wsgi.multithread"] = True
    body = request.body.read()
    used = len(sent) - len(parser.unreader.buf.getvalue())
    return Read(compared(environ), body, used, bool(request.should_close()))


def compared(environ: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in environ.items() if name not in NOT_COMPARED}


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"forwarded_allow_ips": "*", "forwarder_headers": "*"},
        {"limit_request_line": 20, "limit_request_fields": 3, "limit_request_field_size": 30},
        {"permit_obsolete_folding": True, "strip_header_spaces": True, "header_map": "dangerous"},
        {"permit_unconventional_http_method": True, "permit_unconventional_http_version": True},
    ],
    ids=["ours", "all trusted", "limits", "lenient", "unconventional"],
)
def test_what_is_read_plainly_is_what_gunicorn_reads(changed: dict[str, Any]) -> None:
    """Every request that is taken for plain, gunicorn takes too, and reads the same of it."""
    cfg = config(**changed)
    reader = PlainReader(cfg)
    seen: Counter[bool] = Counter()

    @settings(max_examples=1000)
    @given(requests(), st.sampled_from([PROXY, STRANGER, ("::1", 1, 0, 0), ("fe80::1%eth0", 1, 0, 2)]))
    def check(sent: bytes, client: Any) -> None:
        ours = plainly(sent, client, reader)
        seen[ours is not None] += 1
        assert ours is None or ours == by_gunicorn(sent, client, cfg)

    check()
    assert min(seen[True], seen[False]) > 10, "both kinds are met"


BODY = b'{"assistant_id": "helper"}'
USUAL = {
    "a browser": lines(
        "POST /web_call/get_token HTTP/1.1",
        "Host: calls.example.com",
        "Connection: keep-alive",
        f"Content-Length: {len(BODY)}",
        'sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24"',
        "Content-Type: application/json",
        "Authorization: Bearer lvp_page_pppppp",
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)",
        "Accept: */*",
        "Origin: https://shop.example.com",
        "Sec-Fetch-Site: cross-site",
        "Accept-Encoding: gzip, deflate, br, zstd",
        "Accept-Language: de-DE,de;q=0.9",
    )
    + BODY,
    "its preflight": lines(
        "OPTIONS /web_call/get_token HTTP/1.1",
        "Host: calls.example.com",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: authorization,content-type",
        "Upgrade-Insecure-Requests: 1",
    ),
    "curl": lines("GET /health HTTP/1.1", "Host: localhost:8080", "User-Agent: curl/8.5.0", "Accept: */*"),
    "Python": lines(
        "POST /web_call/get_token HTTP/1.1",
        "Host: localhost:8080",
        "Accept-Encoding: identity",
        f"Content-Length: {len(BODY)}",
        "Content-Type: application/json",
        "authorization: Bearer lvk_kkkkkkkk",
    )
    + BODY,
    "nginx": lines(
        "POST /web_call/get_token?a=%20b HTTP/1.1",
        "Host: calls.example.com",
        "X-Forwarded-For: 203.0.113.9, 10.0.0.2",
        "X-Forwarded-Proto: https",
        "X-Real-IP: 203.0.113.9",
        "Connection: close",
        "Content-Length: 0",
    ),
}


@pytest.mark.parametrize("sent", USUAL.values(), ids=USUAL)
@pytest.mark.parametrize("client", [PROXY, STRANGER])
@pytest.mark.parametrize("behind", [b"", b"GET / HTTP/1.1\r\n"])
def test_usual_requests_are_plain(sent: bytes, client: Any, behind: bytes) -> None:
    """What browsers, programs and proxies send is read plainly, and nothing of what is behind it."""
    ours = plainly(sent + behind, client)
    assert ours == by_gunicorn(sent + behind, client)
    assert ours.used == len(sent)
    https = client == PROXY and b"X-Forwarded-Proto: https" in sent
    assert ours.environ["wsgi.url_scheme"] == ("https" if https else "http")
    assert ours.closes == (b"Connection: close" in sent)


@pytest.mark.parametrize("sent", USUAL.values(), ids=USUAL)
def test_a_part_of_a_request_is_not_plain(sent: bytes) -> None:
    """Wherever a request is cut, nothing is taken for the whole of it."""
    assert not any(plainly(sent[:end]) for end in range(len(sent)))


@pytest.mark.parametrize(
    "headers",
    [
        ["Host: a", "Host: b"],
        ["Content-Length: 4", "Content-Length: 4"],
        ["Content-Length: 4", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked"],
        ["Content-Length: +4"],
        ["Content-Length: 4, 4"],
        ["Content-Length: 0x4"],
        ["Content-Length:"],
        ["Content-Length: 5"],
        ["Content-Length : 4"],
        ["Content_Length: 4"],
        ["X-Forwarded-Proto: https", "X-Forwarded-Ssl: off"],
        ["X-A: b\nContent-Length: 4"],
        ["X-A: b\rContent-Length: 4"],
        ["X-A: b\0"],
        ["X-A: b", " folded"],
        ["Expect: 100-continue", "Content-Length: 4"],
        ["Connection: close, Content-Length", "Content-Length: 4"],
        ["Connection: Upgrade", "Upgrade: h2c"],
        ["X" * 70 + ": a"],
    ],
)
def test_what_could_be_read_in_two_ways_is_not_plain(headers: list[str]) -> None:
    """Whatever a proxy might read otherwise is left to gunicorn, which refuses it or has rules for it."""
    assert plainly(lines("POST / HTTP/1.1", *headers) + b"body") is None


def test_limits_are_gunicorns() -> None:
    """One header more, or one byte more in a line, than gunicorn takes is not plain."""
    most = ["GET / HTTP/1.1", *(f"X-{number}: a" for number in range(CONFIG.limit_request_fields))]
    assert plainly(lines(*most)) == by_gunicorn(lines(*most), PROXY)
    assert plainly(lines(*most, "X: a")) is None
    longest = "X: " + "a" * (CONFIG.limit_request_field_size - len("X: \r\n"))
    assert plainly(lines("GET / HTTP/1.1", longest)) == by_gunicorn(lines("GET / HTTP/1.1", longest), PROXY)
    assert plainly(lines("GET / HTTP/1.1", longest + "a")) is None
    target = "/" + "a" * (CONFIG.limit_request_line - len("GET / HTTP/1.1"))
    assert plainly(lines(f"GET {target} HTTP/1.1")) == by_gunicorn(lines(f"GET {target} HTTP/1.1"), PROXY)
    assert plainly(lines(f"GET {target}a HTTP/1.1")) is None


def test_names_that_a_stranger_makes_up_fill_nothing() -> None:
    """However many names and addresses come, few are kept, and the next request is read as before."""
    reader = PlainReader(CONFIG)
    for number in range(1000):
        plainly(lines("GET / HTTP/1.1", f"X-{number}: a"), ("192.0.2.1", number), reader)
        told = lines("GET / HTTP/1.1", "X-Forwarded-Proto: https")
        plainly(told, (f"192.0.{number // 256}.{number % 256}", 1), reader)
    assert plainly(USUAL["nginx"], PROXY, reader) == by_gunicorn(USUAL["nginx"], PROXY)
    assert len(reader._keys) == 256
    assert len(reader._proxies) == 256


@pytest.mark.parametrize(
    "changed",
    [
        {"proxy_protocol": "auto"},
        {"casefold_http_method": True},
        {"certfile": __file__, "keyfile": __file__},
        {"http2_cleartext": "prior-knowledge"},
        {"secure_scheme_headers": {"X_FORWARDED_PROTO": "https"}},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_settings_that_leave_nothing_to_it(changed: dict[str, Any]) -> None:
    """Where gunicorn is told to read a connection in a way of its own, it reads all requests."""
    assert READER.usable
    assert not PlainReader(config(**changed)).usable


@pytest.mark.parametrize(
    "where",
    ["G{}ET / HTTP/1.1", "GET /{} HTTP/1.1", "GET /a{} HTTP/1.1", "GET / HTTP/1.1{}", "{}X: a", "X: a{}b"],
)
def test_every_byte(where: str) -> None:
    """Whatever byte stands anywhere, what is plain with it is what gunicorn takes."""
    for code in range(256):
        first = [] if "HTTP" in where else ["GET / HTTP/1.1"]
        sent = "\r\n".join([*first, where.format(chr(code)), "", ""]).encode("latin-1")
        ours = plainly(sent)
        assert ours is None or ours == by_gunicorn(sent, PROXY), code
