"""What `check` says of addresses that browsers cannot use."""

from __future__ import annotations

import pytest

from tests.support.deployment import MakeApp
from webcall.core.holdings import Finding
from webcall.core.reachability import PART, look_at_addresses

PAGE = "https://calls.example.com"


def look(make_app: MakeApp, url: str, public_url: str, service: str) -> list[Finding]:
    """Return what is said of LiveKit's two addresses and the service's own."""
    app = make_app(
        {
            "LIVEKIT_URL": url,
            "LIVEKIT_PUBLIC_URL": public_url,
            "LIVEKIT_API_KEY": "APItest",
            "LIVEKIT_API_SECRET": "s" * 40,
            "WEBCALL_PUBLIC_URL": service,
            "WEBCALL_VALIDATORS": "env",
            "WEBCALL_STORES": "env",
        }
    )
    return list(look_at_addresses(app.extensions["webcall"].config))


@pytest.mark.parametrize(
    ("url", "public_url", "service"),
    [
        ("ws://127.0.0.1:7880", "", ""),
        ("ws://localhost:7880", "", "http://localhost:8000"),
        ("ws://192.168.1.5:7880", "", ""),
        ("ws://10.0.0.5:7880", "wss://livekit.example.com", PAGE),
        ("http://livekit:7880", "wss://livekit.example.com:8443", PAGE),
        ("wss://livekit.example.com:443", "", PAGE),
        ("ws://127.0.0.1:7880", "wss://livekit.lan", "https://calls.lan"),
        ("ws://127.0.0.1:7880", "wss://[2606:4700::1111]", PAGE),
        ("ws://127.0.0.1:7880", "wss://9.9.9.9", PAGE),
    ],
)
def test_addresses_that_work(make_app: MakeApp, url: str, public_url: str, service: str) -> None:
    """A machine of one's own, a network without the internet, and a public deployment have no warning."""
    (finding,) = look(make_app, url, public_url, service)
    assert (finding.part, finding.status) == (PART, "ok")


@pytest.mark.parametrize(
    ("public_url", "service", "told"),
    [
        ("ws://livekit.example.com", PAGE, ["has no TLS, and http.public_url is https"]),
        ("wss://livekit.example.com:7880", PAGE, ["is wss at LiveKit's own port"]),
        ("ws://livekit.example.com:443", "", ["is ws at the port of TLS"]),
        ("ws://0.0.0.0:7880", "", ["is an address to listen on"]),
        ("ws://[::]:7880", "", ["is an address to listen on"]),
        ("ws://livekit:7880", "", ["is known inside only"]),
        ("wss://127.0.0.1", PAGE, ["is an inside address, and calls.example.com is a public one"]),
        ("wss://localhost", PAGE, ["is an inside address"]),
        ("wss://10.1.2.3", PAGE, ["is an inside address"]),
        ("wss://100.64.0.9", PAGE, ["is an inside address"]),
        ("wss://[fd00::5]", PAGE, ["is an inside address"]),
        ("wss://livekit.internal", "https://9.9.9.9", ["is an inside address"]),
        ("", PAGE, ["has no TLS, and http.public_url is https", "is an inside address"]),
        ("wss://livekit.example.com", "http://calls.example.com", ["no microphone"]),
    ],
)
def test_addresses_that_do_not(make_app: MakeApp, public_url: str, service: str, told: list[str]) -> None:
    """Each address that browsers cannot use has a warning that names it, and a fix."""
    found = look(make_app, "ws://127.0.0.1:7880", public_url, service)
    assert len(found) == len(told)
    for finding, words in zip(found, told, strict=True):
        assert (finding.part, finding.status) == (PART, "warning")
        assert words in finding.message
        assert "://" in finding.message
        assert "wss://…" in finding.fix or "https://…" in finding.fix
