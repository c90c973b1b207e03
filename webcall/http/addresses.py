"""The address that a request counts under, whatever proxies stand in front."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from webcall.http import current

# Of a client at a Unix socket, and of a proxy that names no address: they share one.
UNKNOWN = "unknown"
# A provider gives a customer, and thus whoever draws addresses at will, at least so much.
_IPV6_PREFIX = 64
# An IPv6 address in brackets, with a zone and a port; what is longer is none, and is not kept.
_LONGEST = 100
# Some proxies append the client's port, too.
_WITH_PORT = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<four>[0-9.]+))(?::[0-9]{1,5})?", re.ASCII)


def init_app(app: Flask, trusted_proxies: int) -> None:
    """Believe the last `trusted_proxies` entries of X-Forwarded-For, which the proxies in front wrote.

    Of other forwarding headers none is believed: nothing here depends on scheme or host.
    """
    if trusted_proxies:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=trusted_proxies, x_proto=0, x_host=0, x_port=0, x_prefix=0
        )


def client_address() -> str:
    """Return what the request's client is counted under: its IPv4 address, or the /64 of an IPv6 one."""
    return counted_as(current.request().remote_addr or "")


def counted_as(address: str) -> str:
    """Return what an address is counted under; `UNKNOWN` for what is none."""
    return _counted_as(address) if len(address) <= _LONGEST else UNKNOWN


@lru_cache(maxsize=1024)
def _counted_as(address: str) -> str:
    if match := _WITH_PORT.fullmatch(address):
        address = match["six"] or match["four"]
    try:
        found: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        return UNKNOWN
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is None:
            return str(IPv6Network((int(found), _IPV6_PREFIX), strict=False))
        # What a socket that listens on both calls an IPv4 client.
        found = found.ipv4_mapped
    return str(found)
