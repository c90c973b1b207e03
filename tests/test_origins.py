"""Origins: what a browser sends, and the patterns that an operator writes."""

from __future__ import annotations

import pytest

from webcall.origins import is_allowed, origin_pattern, parse_origin

EXACT = "https://shop.example.com"
BELOW = "https://*.example.com"

SAME = [
    EXACT,
    "HTTPS://SHOP.EXAMPLE.COM",
    "https://shop.example.com:443",
    "https://shop.example.com:0443",
]
OTHERS = [
    "http://shop.example.com",
    "http://shop.example.com:443",
    "https://shop.example.com:8443",
    "https://shop.example.com:80",
    "https://shop.example.com.",
    "https://www.shop.example.com",
    "https://example.com",
    "https://shop.example.com.evil.example",
    "https://evilshop.example.com",
    "https://evil.example/shop.example.com",
    "wss://shop.example.com",
]
MALFORMED = [
    "",
    " ",
    "*",
    "null",
    "NULL",
    "shop.example.com",
    "//shop.example.com",
    "https:shop.example.com",
    "https:/shop.example.com",
    "https://",
    "https://shop.example.com/",
    "https://shop.example.com/path",
    "https://shop.example.com?",
    "https://shop.example.com#",
    "https://shop.example.com:",
    "https://shop.example.com:0",
    "https://shop.example.com:65536",
    "https://shop.example.com:-1",
    "https://shop.example.com:443:443",
    "https://user@shop.example.com",
    "https://evil.example\\.shop.example.com",
    "https://evil.example\\@shop.example.com",
    " https://shop.example.com",
    "https://shop.example.com\n",
    "https://shop.example.com\x00",
    "https://shop.example.com, https://shop.example.com",
    "https://shop.example.com https://shop.example.com",
    "https://*.example.com",
    "https://shop..example.com",
    "https://.example.com",
    "https://shop%2eexample.com",
    "https://shop.e\u212aample.com",
    "https://shöp.example.com",
    "https://1.2.3.256",
    "https://[::1",
    "https://[::g]",
    "https://[::1]evil",
    "https://" + "a" * 64 + ".example.com",
    "https://" + "a." * 127 + "example.com",
]


@pytest.mark.parametrize("header", SAME)
def test_the_same_origin_in_another_form_is_the_same(header: str) -> None:
    """Upper case and the scheme's own port are what a browser would take away."""
    assert is_allowed(header, [EXACT])
    assert is_allowed(header, ["https://else.example", "HTTPS://Shop.Example.com:443"])
    assert is_allowed(header, [BELOW])
    assert not is_allowed(header, [])


@pytest.mark.parametrize("header", OTHERS)
def test_another_scheme_host_or_port_is_another_origin(header: str) -> None:
    """A host's trailing dot, a neighbour, a domain above or below: none is the one that was meant."""
    assert not is_allowed(header, [EXACT])


@pytest.mark.parametrize("header", MALFORMED)
def test_what_no_browser_sends_is_nobody(header: str) -> None:
    """`null` and what is malformed match nothing, not even a pattern of the same text."""
    assert parse_origin(header) is None
    assert not is_allowed(header, [EXACT, BELOW, header])


def test_a_star_means_names_in_front() -> None:
    """One name or more in front, never none, never a part of one, and only of that scheme and port."""
    allowed = [BELOW]
    assert is_allowed("https://a.example.com", allowed)
    assert is_allowed("https://a.b-1.EXAMPLE.com", allowed)
    for header in (
        "https://example.com",
        "https://evilexample.com",
        "https://a.example.com.",
        "https://a.example.com:8443",
        "http://a.example.com",
        "https://a.example.com.evil.example",
    ):
        assert not is_allowed(header, allowed)
    assert is_allowed("http://a.localhost:3000", ["http://*.localhost:3000"])


@pytest.mark.parametrize(
    ("header", "pattern"),
    [
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("http://[::1]:3000", "http://[0:0:0:0:0:0:0:1]:3000"),
        ("http://localhost:5173", "http://localhost:5173"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("https://shop.example.com.", "https://shop.example.com."),
        ("https://a_b.example.com", "https://*.example.com"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("chrome-extension://" + "a" * 32, "chrome-extension://" + "a" * 32),
    ],
)
def test_hosts_of_every_kind(header: str, pattern: str) -> None:
    """Addresses, local names, names in their ASCII form and shells of apps can be named."""
    assert is_allowed(header, [pattern])
    assert str(origin_pattern(pattern)) == str(parse_origin(header)) or "*" in pattern


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no scheme"),
        ("*", "any page"),
        ("null", "any page"),
        ("https://*", "any page"),
        ("shop.example.com", "no scheme"),
        ("htps://shop.example.com", "no scheme of a web page"),
        ("file://x", "no scheme of a web page"),
        ("https://shop.example.com/", "no slash"),
        ("https://shop.example.com/call", "no path"),
        ("https://shop.example.com:*", "is no origin"),
        ("https://a.*.example.com", "is no origin"),
        ("https://*example.com", "is no origin"),
        ("https://*.*.example.com", "is no origin"),
        ("https://*.com", "a star where one cannot stand"),
        ("https://*.com.", "a star where one cannot stand"),
        ("https://*.127.0.0.1", "a star where one cannot stand"),
        ("https://*.[::1]", "a star where one cannot stand"),
        ("capacitor://*.localhost", "a star where one cannot stand"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
    ],
)
def test_a_pattern_that_cannot_be_meant_is_told_of(text: str, told: str) -> None:
    """The message says what is wrong and shows a right one; read from a record, it matches nothing."""
    with pytest.raises(ValueError, match="https://") as caught:
        origin_pattern(text)
    assert told in str(caught.value)
    assert not is_allowed(EXACT, [text])


def test_a_pattern_is_stored_as_a_browser_writes_it() -> None:
    """What was written in capitals or with the scheme's own port is stored without."""
    assert str(origin_pattern("HTTPS://*.Example.COM:443")) == "https://*.example.com"
    assert str(origin_pattern("http://shop.example:80")) == "http://shop.example"
    assert str(origin_pattern("https://shop.example:80")) == "https://shop.example:80"
