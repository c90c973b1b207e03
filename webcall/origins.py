"""Origins of web pages: the `Origin` header, and the patterns that it is matched against. Pure.

An origin is scheme, host and port (RFC 6454), as a browser writes it: in lower case, without the
port that the scheme implies (Fetch standard, "serializing an origin").
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address

EXAMPLES = "https://shop.example.com or https://*.example.com"

_DEFAULT_PORTS = {"http": 80, "https": 443}
# Schemes whose pages send an origin of their own kind: shells of apps, and browser extensions.
_APP_SCHEMES = ("capacitor", "ionic", "chrome-extension", "moz-extension")

# Python's $ would let a newline through, and its \w other alphabets.
_ORIGIN = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:/?#@\\]+)(?P<port>:[0-9]{1,5})?"
)
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
_MAX_HOST = 253
_WILDCARD = "*."


@dataclass(frozen=True, slots=True)
class Origin:
    """One origin; as a pattern, `subdomains` means every host below `host` in its place."""

    scheme: str
    host: str
    port: int | None
    subdomains: bool = False

    def __str__(self) -> str:
        wildcard = _WILDCARD if self.subdomains else ""
        return f"{self.scheme}://{wildcard}{self.host}" + ("" if self.port is None else f":{self.port}")

    def matches(self, origin: Origin) -> bool:
        """Return whether a page's origin is the one, or one of those, that this pattern means."""
        if (self.scheme, self.port) != (origin.scheme, origin.port):
            return False
        return origin.host.endswith(f".{self.host}") if self.subdomains else origin.host == self.host


# Scheme, host and port; what is longer is no origin, and is not kept.
_LONGEST = 300


def parse_origin(header: str) -> Origin | None:
    """Return the origin that an `Origin` header names; None for `null` and for what is none.

    `null` comes from every sandboxed frame and local file, so that it can name nobody. Upper case
    and a scheme's own port are read as a browser reads them in an address; a host that ends with a
    dot is another host.
    """
    return _parse(header) if len(header) <= _LONGEST else None


@lru_cache(maxsize=1024)
def _parse(header: str) -> Origin | None:
    match = _ORIGIN.fullmatch(header)
    # Other alphabets have letters whose lower case is ASCII.
    if match is None or not header.isascii():
        return None
    scheme, host = match["scheme"].lower(), _host(match["host"].lower())
    port = int(match["port"][1:]) if match["port"] else None
    if host is None or (port is not None and not 0 < port <= 65535):
        return None
    return Origin(scheme, host, None if port == _DEFAULT_PORTS.get(scheme) else port)


def _host(text: str) -> str | None:
    """Return a host in a browser's form (WHATWG URL standard, "host parsing"); None if it is none."""
    try:
        if text.startswith("["):
            return f"[{IPv6Address(text[1:-1]).compressed}]"
        labels = text.removesuffix(".").split(".")
        if labels[-1].isdecimal():
            return str(IPv4Address(text))
    except AddressValueError:
        return None
    fine = len(text) <= _MAX_HOST and all(_LABEL.fullmatch(label) for label in labels)
    return text if fine else None


def origin_pattern(text: str) -> Origin:
    """Return the pattern that an operator wrote: an origin, or `https://*.example.com`.

    The star stands for one or more names in front, not for none. Raises `ValueError` with what is
    wrong and a right one.
    """
    if not text.isascii():
        raise ValueError(
            "has letters that browsers send in another form: write the host as they do, "
            "such as https://xn--bcher-kva.example"
        )
    scheme, separator, rest = text.partition("://")
    if text in ("*", "null") or rest in ("*", "*."):
        raise ValueError(f"stands for any page there is: name those that are meant, such as {EXAMPLES}")
    if not separator:
        raise ValueError(f"has no scheme: write {EXAMPLES}")
    if scheme.lower() not in _DEFAULT_PORTS and scheme.lower() not in _APP_SCHEMES:
        raise ValueError(f"begins with no scheme of a web page: write https://, as in {EXAMPLES}")
    subdomains = rest.startswith(_WILDCARD)
    found = parse_origin(f"{scheme}://{rest.removeprefix(_WILDCARD)}" if subdomains else text)
    if found is None:
        raise ValueError(
            f"is no origin: scheme, host and at most a port, no path and no slash behind, such as {EXAMPLES}"
        )
    if not subdomains:
        return found
    *above, last = found.host.removesuffix(".").split(".")
    address = found.host.startswith("[") or last.isdecimal()
    # A whole top-level domain, such as *.com, is as good as any page.
    if address or not (above or last == "localhost") or found.scheme in _APP_SCHEMES:
        raise ValueError(f"has a star where one cannot stand: write {EXAMPLES}")
    return Origin(found.scheme, found.host, found.port, subdomains=True)


@lru_cache(maxsize=1024)
def _pattern(text: str) -> Origin | None:
    try:
        return origin_pattern(text)
    except ValueError:
        return None


def is_allowed(header: str, allowed: Iterable[str]) -> bool:
    """Return whether an `Origin` header is one of the allowed patterns; a faulty pattern allows none."""
    origin = parse_origin(header)
    if origin is None:
        return False
    return any(pattern.matches(origin) for text in allowed if (pattern := _pattern(text)))
