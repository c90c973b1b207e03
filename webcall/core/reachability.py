"""Whether browsers can reach what the settings send them to, as far as the addresses tell. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from webcall.config.settings import Config
from webcall.core.holdings import Finding

PART = "public addresses"
# LiveKit's own port, which speaks no TLS: that is for a proxy in front of it.
_PLAIN_PORT = 7880
_TLS_PORT = 443
# Names that no public resolver knows: RFC 6761, 6762, 8375 and 9476, and what routers and clouds use.
_INSIDE = (".localhost", ".local", ".internal", ".home.arpa", ".lan", ".intranet", ".corp")

_SET_PUBLIC = (
    "set livekit.public_url (LIVEKIT_PUBLIC_URL) to the address at which browsers reach LiveKit, wss://…"
)


def look_at_addresses(config: Config) -> Iterator[Finding]:
    """Yield a warning for each address that browsers cannot use, or one ok."""
    found = [*_livekit(config), *_service(config)]
    yield from found
    if not found:
        yield Finding(PART, "ok", f"browsers are sent to {config.livekit.server_url}")


def _livekit(config: Config) -> Iterator[Finding]:
    told, service = config.livekit.server_url, _service_address(config)
    address = urlsplit(told)
    host, port = address.hostname or "", _port(address)
    if service is not None and service.scheme == "https" and address.scheme == "ws":
        yield _warning(
            f"{told} has no TLS, and http.public_url is https: browsers let no such page connect there",
            f"put a proxy with TLS in front of LiveKit, and {_SET_PUBLIC}",
        )
    if address.scheme == "wss" and port == _PLAIN_PORT:
        yield _warning(
            f"{told} is wss at LiveKit's own port, which speaks no TLS",
            f"name the port of the proxy in front of LiveKit, mostly none for {_TLS_PORT}: {_SET_PUBLIC}",
        )
    if address.scheme == "ws" and port == _TLS_PORT:
        yield _warning(f"{told} is ws at the port of TLS", f"take wss: {_SET_PUBLIC}")
    if _is_nowhere(host):
        yield _warning(f"{told} is an address to listen on, and none to connect to", _SET_PUBLIC)
    elif not _is_loopback(host) and not _is_number(host) and "." not in host:
        yield _warning(f"{told} has a name that is known inside only", _SET_PUBLIC)
    elif service is not None and not _is_inside(service.hostname or "") and _is_inside(host):
        yield _warning(
            f"{told} is an inside address, and {service.hostname} is a public one: whoever comes from "
            "outside gets a token and cannot connect",
            _SET_PUBLIC,
        )


def _service(config: Config) -> Iterator[Finding]:
    service = _service_address(config)
    if service is not None and service.scheme == "http" and not _is_loopback(service.hostname or ""):
        yield _warning(
            f"{config.http.public_url} has no TLS: browsers give pages there no microphone",
            "put a proxy with TLS in front of the service, and set http.public_url (WEBCALL_PUBLIC_URL) to "
            "https://…",
        )


def _service_address(config: Config) -> SplitResult | None:
    return urlsplit(config.http.public_url) if config.http.public_url else None


def _warning(message: str, fix: str) -> Finding:
    return Finding(PART, "warning", message, fix)


def _port(address: SplitResult) -> int | None:
    try:
        return address.port
    except ValueError:
        return None


def _is_number(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_nowhere(host: str) -> bool:
    return _is_number(host) and ip_address(host).is_unspecified


def _is_loopback(host: str) -> bool:
    if _is_number(host):
        return ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


def _is_inside(host: str) -> bool:
    if _is_number(host):
        return not ip_address(host).is_global
    return "." not in host or host.endswith(_INSIDE)
