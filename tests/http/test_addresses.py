"""Which address a request counts under, and what a client cannot do about it."""

from __future__ import annotations

import json

import pytest

from tests.support.deployment import API_KEYS, KEY, MakeApp, bearer
from tests.support.http import CALL
from webcall.http.addresses import UNKNOWN, counted_as

ENVIRONMENT = {
    "LIVEKIT_API_KEY": "key",
    "LIVEKIT_API_SECRET": "s" * 32,
    "WEBCALL_VALIDATORS": "env",
    "WEBCALL_STORES": "env",
    "WEBCALL_API_KEYS": json.dumps(API_KEYS),
}


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9:5123", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]", "2001:db8:1:2::/64"),
        ("[2001:DB8:1:2::9]:443", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", UNKNOWN),
        ("unknown", UNKNOWN),
        ("203.0.113.999", UNKNOWN),
        ("203.0.113.9\n", UNKNOWN),
        ("203.0.113.9/24", UNKNOWN),
        ("x" * 10_000, UNKNOWN),
    ],
)
def test_an_address_counts_as(address: str, counted: str) -> None:
    """IPv4 addresses count by themselves, IPv6 ones by their /64, and all that is none together."""
    assert counted_as(address) == counted


# A proxy appends the address that it was called from; what stands before that, a client wrote.
CASES = [
    # Without a trusted proxy the header is nobody's word.
    (0, ["1.1.1.1", "2.2.2.2", "9.9.9.9, 1.1.1.1"], True),
    # One proxy: the last entry counts, whatever the client put before it.
    (1, ["6.6.6.6, 1.1.1.1", "7.7.7.7, 1.1.1.1", "8.8.8.8,7.7.7.7,1.1.1.1"], True),
    (1, ["1.1.1.1", "1.1.1.2", "1.1.1.3"], False),
    (1, ["1.1.1.1, 2.2.2.1", "1.1.1.1, 2.2.2.2", "1.1.1.1, 2.2.2.3"], False),
    # Two: the last but one.
    (2, ["6.6.6.6, 1.1.1.1, 2.2.2.1", "7.7.7.7, 1.1.1.1, 2.2.2.2", "1.1.1.1, 2.2.2.3"], True),
    (2, ["1.1.1.1, 2.2.2.2", "1.1.1.2, 2.2.2.2", "1.1.1.3, 2.2.2.2"], False),
    # Fewer entries than proxies: somebody came around the outer one, and its own socket is what is known.
    (2, ["1.1.1.1", "1.1.1.2", "1.1.1.3"], True),
    (1, ["", "unknown", "_hidden"], False),
]


@pytest.mark.parametrize(("proxies", "headers", "one_client"), CASES)
def test_trusted_proxies_decide_whose_word_counts(
    make_app: MakeApp, proxies: int, headers: list[str], one_client: bool
) -> None:
    """Three wrong keys, past a limit of two: one client is stopped, whatever it claims; three are not."""
    limits = {"failed_auth_per_address": "2/minute"}
    client = make_app(ENVIRONMENT, http={"trusted_proxies": proxies}, limits=limits).test_client()
    statuses = [
        client.post(CALL, headers=bearer("lvk_wrong") | {"X-Forwarded-For": header}).status_code
        for header in headers
    ]
    assert statuses == [401, 401, 429 if one_client else 401]


def test_no_other_header_names_an_address(make_app: MakeApp) -> None:
    """Of what clients call themselves elsewhere nothing is believed, behind a proxy either."""
    limits = {"failed_auth_per_address": "1/minute"}
    client = make_app(ENVIRONMENT, http={"trusted_proxies": 1}, limits=limits).test_client()
    statuses = []
    for number, name in enumerate(["X-Real-IP", "Forwarded", "True-Client-IP", "CF-Connecting-IP", "Via"]):
        value = f"for=1.1.1.{number}" if name == "Forwarded" else f"1.1.1.{number}"
        headers = bearer("lvk_wrong") | {"X-Forwarded-For": "2.2.2.2", name: value}
        statuses.append(client.post(CALL, headers=headers).status_code)
    assert statuses == [401, 429, 429, 429, 429]


def test_a_good_key_works_from_an_address_that_is_stopped(make_app: MakeApp) -> None:
    """Past the limit of wrong keys 429 takes the place of 401, and a good key is served as before."""
    client = make_app(ENVIRONMENT, limits={"failed_auth_per_address": "1/minute"}).test_client()
    for status in (401, 429):
        assert client.get("/web_call/assistants", headers=bearer("lvk_wrong")).status_code == status
    assert client.get("/web_call/assistants", headers=bearer(KEY)).status_code == 200
    assert client.get("/web_call/assistants").status_code == 429
    assert client.get("/health").status_code == 200
