"""What callers write into headers: authorization, origins, addresses, and what logs make of it."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

import pytest
from flask import Flask
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.support.fuzzing import fuzzed
from webcall.errors import Unauthorized
from webcall.http.addresses import UNKNOWN, counted_as
from webcall.http.auth import bearer_token
from webcall.http.requests import without_keys
from webcall.origins import is_allowed, origin_pattern, parse_origin

# As WSGI gives headers: every character is a byte.
LATIN = st.text(st.characters(max_codepoint=255), max_size=20)
SCHEMES = st.sampled_from(["Bearer", "bearer", "BEARER", "Basic", "bearer\t", " Bearer", "Bearer Bearer", ""])
BLANKS = st.sampled_from(["", " ", "  ", "\t", "\xa0"])
AUTHORIZATIONS = LATIN | st.builds(
    lambda scheme, before, token, after: scheme + before + token + after, SCHEMES, BLANKS, LATIN, BLANKS
)
_BEARER = re.compile(r"(?is)bearer +(?P<token>.*?) *")


@pytest.fixture(scope="module")
def flask() -> Flask:
    """An application that only has requests."""
    return Flask("fuzzed", static_folder=None)


@fuzzed
@given(AUTHORIZATIONS)
@example("Bearer  \xc3\xa4 ")
@example("Bearer \xff")
def test_authorization_is_a_bearer_token_or_none(flask: Flask, header: str) -> None:
    """What RFC 6750 calls a bearer token, in UTF-8, comes out as it was sent; all else is a 401."""
    match = _BEARER.fullmatch(header)
    expected: str | None = match["token"] if match else None
    try:
        expected = expected.encode("latin-1").decode() if expected else None
    except UnicodeDecodeError:
        expected = None
    with flask.test_request_context(environ_overrides={"HTTP_AUTHORIZATION": header}):
        if expected is None:
            with pytest.raises(Unauthorized):
                bearer_token()
        else:
            assert bearer_token() == expected


KEYS = st.from_regex(r"lv[kp]_[A-Za-z0-9_-]{12,43}|eyJ[A-Za-z0-9_-]{12,40}\.[A-Za-z0-9_-]{5}", fullmatch=True)


@fuzzed
@given(LATIN, KEYS, LATIN)
def test_no_key_gets_through_into_a_log(flask: Flask, before: str, key: str, after: str) -> None:
    """Whatever stands around a key or a signed token, neither it nor a control character is left."""
    assume(not re.search(r"[\w-]\Z", before, re.ASCII))
    with flask.test_request_context():
        told = without_keys(before + key + after)
    assert key not in told
    assert told.isprintable()


@fuzzed
@given(LATIN, st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=7, max_size=30), LATIN)
def test_the_key_of_this_request_does_not_either(flask: Flask, before: str, key: str, after: str) -> None:
    """A key of an older deployment looks like nothing: the one that was sent is blotted out all the same."""
    with flask.test_request_context(headers={"Authorization": f"Bearer {key}"}):
        assert key not in without_keys(before + key + after).replace("[key]", "")


LABELS = st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,10}[a-z0-9_])?", fullmatch=True)
HOSTS = st.one_of(
    st.lists(LABELS, min_size=1, max_size=4).map(".".join),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address.compressed}]"),
)
PORTS = st.none() | st.integers(0, 70_000)
ORIGINS = st.builds(
    lambda scheme, host, port: f"{scheme}://{host}" + ("" if port is None else f":{port}"),
    st.sampled_from(["http", "https", "HTTPS", "capacitor", "chrome-extension", "ftp", "javascript"]),
    HOSTS,
    PORTS,
)
_PIECES = st.sampled_from(
    ["http", "https", "://", ":", "/", "//", "*", "*.", ".", "@", "#", "?", "\\", "[", "]", "::1"]
)
LIKE_ORIGINS = st.one_of(
    ORIGINS,
    st.text(max_size=30),
    st.lists(_PIECES | LABELS, max_size=8).map("".join),
    ORIGINS.map("{}/".format),
)


@fuzzed
@given(LIKE_ORIGINS)
@example("https://a.example:443")
@example("https://a.example\n")
@example("https://1.2.3")
@example("null")
def test_an_origin_is_read_as_an_address_is(header: str) -> None:
    """What is taken for an origin is one to urllib, too, and comes out in one form that is its own."""
    found = parse_origin(header)
    if found is None:
        return
    assert parse_origin(str(found)) == found
    parts = urlsplit(header)
    assert (parts.path, parts.query, parts.fragment, parts.username) == ("", "", "", None)
    assert parts.scheme == found.scheme
    host = found.host.strip("[]")
    if ":" in host or host.replace(".", "").isdigit():
        assert ip_address(parts.hostname or "") == ip_address(host)
    else:
        assert parts.hostname == host
    implied = {"http": 80, "https": 443}.get(found.scheme)
    assert (parts.port if parts.port != implied else None) == found.port


@fuzzed
@given(
    LIKE_ORIGINS, st.lists(LIKE_ORIGINS | ORIGINS.map(lambda one: one.replace("://", "://*.")), max_size=3)
)
@example("https://a.b.example", ["https://*.b.example"])
@example("https://evilb.example", ["https://*.b.example"])
def test_a_page_is_let_in_by_what_an_operator_wrote_only(header: str, allowed: list[str]) -> None:
    """No list lets in an origin that it does not name, by itself or by a star in front of the host."""
    origin = parse_origin(header)
    expected = False
    for text in allowed:
        try:
            pattern = origin_pattern(text)
        except ValueError as error:
            assert str(error)  # noqa: PT017  # it is told to the operator
            continue
        assert str(origin_pattern(str(pattern))) == str(pattern)
        if origin is not None:
            plain, dotted = str(origin), str(pattern).replace("://*.", "://.")
            scheme, _, rest = dotted.partition("://")
            if pattern.subdomains:
                expected |= plain.startswith(f"{scheme}://") and plain.endswith(rest) and plain != dotted
            else:
                expected |= plain == str(pattern)
    assert is_allowed(header, allowed) is expected


ADDRESSES = st.one_of(
    st.ip_addresses().map(str),
    st.builds("{}:{}".format, st.ip_addresses(v=4), st.integers(0, 99_999)),
    st.builds("[{}]:{}".format, st.ip_addresses(v=6), st.integers(0, 99_999)),
    st.ip_addresses(v=4).map("::ffff:{}".format),
    st.text(max_size=20),
    st.sampled_from(
        ["", "unknown", "_hidden", "1.2.3.4.5", "01.2.3.4", "::1%eth0", "[::1", "1.2.3.4, 5.6.7.8"]
    ),
)


def is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


@fuzzed
@given(ADDRESSES, st.integers(0, 2**64 - 1))
@example("::1%eth0", 0)
def test_an_address_counts_as_one_thing(address: str, host: int) -> None:
    """Whatever a proxy wrote: an IPv4 address, the /64 of an IPv6 one, or what all others share."""
    counted = counted_as(address)
    if counted != UNKNOWN:
        network = ip_network(counted)
        assert network.prefixlen == (64 if network.version == 6 else 32)
        if network.version == 6:
            assert counted_as(str(network[0] + host)) == counted
    else:
        assert not is_address(address)
        assert not is_address(re.sub(r":[0-9]{1,5}\Z", "", address, flags=re.ASCII))
