"""Plain requests, read without gunicorn's parser.

Nearly all requests are plain: HTTP/1.1, a path, headers of which none has a meaning for the connection
itself, and a body of a known length that is here already. Gunicorn's parser is for everything that HTTP
knows, and takes several times as long to read one of those and to build its environment. Whatever is not
plain in any way, malformed requests first of all, is left to gunicorn.
tests/serving/test_plain_requests.py holds that the application gets of a plain request what gunicorn would
give it.
"""

from __future__ import annotations

import io
import os
import re
from typing import Any

from gunicorn.http import wsgi
from gunicorn.http.message import MAX_REQUEST_LINE, _ip_in_allow_list
from gunicorn.util import split_request_uri, unquote_to_wsgi_str

_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
# Lines that end with CRLF, and nothing that may not stand in one (RFC 9110, section 5.5).
_LINES = re.compile(r"(?:[^\x00-\x08\x0a-\x1f\x7f]++|\r\n)*+")
# A path, and no address with a host (RFC 9112, section 3.2.1); `//` has a meaning of its own to urlsplit.
_TARGET = re.compile(r"/(?:[!-.0-~][!-~]*)?")
# Without the underscore, which gunicorn has rules for, and the rest of RFC 9110's tokens that nobody uses.
_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
_LENGTH = re.compile(r"[0-9]{1,9}")
# A connection's own, and those that gunicorn reads more into.
_NOT_PLAIN = frozenset({"EXPECT", "HTTP2-SETTINGS", "TE", "TRAILER", "TRANSFER-ENCODING", "UPGRADE"})
_KEEPS = {"close": False, "keep-alive": True}
_HEADERS = {"CONTENT-TYPE": "CONTENT_TYPE", "CONTENT-LENGTH": "CONTENT_LENGTH"}
# Names as they come are the same few for all requests, and so are the proxies' addresses. The first so many
# are kept, those that a stranger makes up among them; any other is worked out each time that it comes.
_KNOWN_AT_MOST = 256


class NotPlain(Exception):
    """Gunicorn has to answer this."""


class PlainRequest:
    """A plain request, and what gunicorn's answers ask of one."""

    __slots__ = ("body", "environ", "length", "method", "must_close", "query", "uri")
    version = (1, 1)

    def __init__(self, environ: dict[str, Any], body: bytes, length: int, *, closes: bool) -> None:
        self.method: str = environ["REQUEST_METHOD"]
        self.uri: str = environ["RAW_URI"]
        self.query: str = environ["QUERY_STRING"]
        self.environ = environ
        self.body = body
        self.length = length
        """Of how many bytes it is, head and body."""
        self.must_close = closes

    def should_close(self) -> bool:
        """Return whether the connection ends with the answer."""
        return self.must_close


class PlainReader:
    """Reads plain requests of one worker. May be used in any thread."""

    def __init__(self, cfg: Any) -> None:
        """Take gunicorn's settings."""
        self._cfg = cfg
        self._base = {**wsgi.base_environ(cfg), "wsgi.multithread": True, "SCRIPT_NAME": ""}
        # Where gunicorn takes 0 for no bound or a default of its own, nothing is left to it.
        self._longest_first = min(cfg.limit_request_line, MAX_REQUEST_LINE)
        self._longest_line = cfg.limit_request_field_size
        self._most_lines = cfg.limit_request_fields
        self._schemes = {
            "HTTP_" + name.replace("-", "_"): secure for name, secure in cfg.secure_scheme_headers.items()
        }
        self._keys: dict[str, str] = {}
        self._proxies: dict[str, bool] = {}
        self.usable = (
            not cfg.is_ssl
            and cfg.proxy_protocol == "off"
            and not cfg.casefold_http_method
            and not any("_" in name for name in cfg.secure_scheme_headers)
            and cfg.protocol == "http"
            and cfg.http2_cleartext == "off"
            and not os.environ.get("SCRIPT_NAME")
        )
        """Whether the settings leave anything to it."""

    def read(self, sent: bytes, conn: Any) -> PlainRequest | None:
        """Return the request that a connection has sent, or None if it is not a plain one, or not whole."""
        head, end, rest = sent.partition(b"\r\n\r\n")
        text = head.decode("latin-1")
        if not end or not _LINES.fullmatch(text):
            return None
        try:
            return self._read(text, rest, conn)
        except NotPlain:
            return None

    def _read(self, head: str, rest: bytes, conn: Any) -> PlainRequest:
        first, *lines = head.split("\r\n")
        method, _, target_and_version = first.partition(" ")
        target, _, version = target_and_version.partition(" ")
        _require(method in _METHODS and version == "HTTP/1.1" and _TARGET.fullmatch(target) is not None)
        _require(len(first) <= self._longest_first and len(lines) <= self._most_lines)
        environ = {**self._base, "REQUEST_METHOD": method, "RAW_URI": target, "SERVER_PROTOCOL": "HTTP/1.1"}
        for line in lines:
            name, colon, value = line.partition(":")
            key = self._keys.get(name) or self._key_of(name)
            # What stands twice is put together in more ways than one.
            _require(bool(colon) and key not in environ and len(line) + 2 <= self._longest_line)
            environ[key] = value.strip(" \t")
        length = environ.get("CONTENT_LENGTH", "0")
        _require(_LENGTH.fullmatch(length) is not None and len(rest) >= int(length))
        body = rest[: int(length)]
        environ["wsgi.input"] = io.BytesIO(body)
        self._put_addresses(environ, target, conn)
        environ["wsgi.url_scheme"] = self._scheme(environ, conn.client)
        connection = environ.get("HTTP_CONNECTION", "keep-alive").lower()
        _require(connection in _KEEPS)
        return PlainRequest(environ, body, len(head) + 4 + len(body), closes=not _KEEPS[connection])

    def _key_of(self, name: str) -> str:
        """Return where a header stands in the environment; `NotPlain` where it has a meaning of its own."""
        upper = name.upper()
        _require(_NAME.fullmatch(name) is not None and upper not in _NOT_PLAIN)
        key = _HEADERS.get(upper) or "HTTP_" + upper.replace("-", "_")
        if len(self._keys) < _KNOWN_AT_MOST:
            self._keys[name] = key
        return key

    def _scheme(self, environ: dict[str, Any], client: Any) -> str:
        """Return the scheme, as a proxy says it that may."""
        told = [environ[key] == secure for key, secure in self._schemes.items() if key in environ]
        if not told or not self._is_proxy(client):
            return "http"
        _require(len(told) == 1)
        return "https" if told[0] else "http"

    def _is_proxy(self, client: Any) -> bool:
        address = client[0]
        known = self._proxies.get(address)
        if known is None:
            cfg = self._cfg
            known = _ip_in_allow_list(address, cfg.forwarded_allow_ips, cfg.forwarded_allow_networks())
            if len(self._proxies) < _KNOWN_AT_MOST:
                self._proxies[address] = known
        return known

    def _put_addresses(self, environ: dict[str, Any], target: str, conn: Any) -> None:
        # A Unix socket has neither, and gunicorn's rules for what stands in their place.
        _require(isinstance(conn.client, tuple) and isinstance(conn.server, tuple))
        environ["gunicorn.socket"] = conn.sock
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = conn.client[0], str(conn.client[1])
        environ["SERVER_NAME"], environ["SERVER_PORT"] = conn.server[0], str(conn.server[1])
        parts = split_request_uri(target)
        environ["PATH_INFO"], environ["QUERY_STRING"] = unquote_to_wsgi_str(parts.path), parts.query


def _require(plain: bool) -> None:
    if not plain:
        raise NotPlain
