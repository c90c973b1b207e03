"""The provider's keys: which are taken, when they are asked for, and what holds while they cannot be."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from plugins.jwt.jwks import fetch
from tests.support.oidc import ScriptedProvider, own_certificate
from tests.support.tokens import OTHER, RSA, public, token
from webcall.errors import BackendError, Refused


def test_a_new_key_of_the_provider_is_found(make: Any, provider: ScriptedProvider) -> None:
    """A rotation is noticed at the first token with the new key; the removed one is good no more."""
    logins = make(retry_s=0.1)
    assert logins.validate(token(provider.issuer)) is not None
    provider.keys = [public(OTHER, "next")]
    deadline = time.monotonic() + 10
    while True:
        try:
            assert logins.validate(token(provider.issuer, OTHER, headers={"kid": "next"})) is not None
            break
        except Refused:
            assert time.monotonic() < deadline
    with pytest.raises(Refused):
        logins.validate(token(provider.issuer))


def test_a_look_up_in_dns_that_hangs_holds_no_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fetch ends in time though the provider's name is not looked up, and cannot be given up."""
    let_go = threading.Event()

    def hang(*_: Any, **__: Any) -> Any:
        let_go.wait(30)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        fetch(issuer="https://login.example", jwks_url="", algorithms=["RS256"], timeout_s=0.3, ca_file="")
    assert time.monotonic() - began < 0.3 + 1
    let_go.set()


def test_invented_key_ids_do_not_reach_the_provider(make: Any, provider: ScriptedProvider) -> None:
    """64 threads with hundreds of invented ids cost the provider one fetch beyond the first."""
    logins = make(retry_s=60)
    logins.validate(token(provider.issuer))

    def ask(number: int) -> str:
        try:
            logins.validate(token(provider.issuer, OTHER, headers={"kid": f"invented-{number}"}))
        except Refused:
            return "refused"
        return "taken"

    with ThreadPoolExecutor(64) as pool:
        assert set(pool.map(ask, range(300))) == {"refused"}
    assert provider.fetches <= 2


def test_kept_keys_serve_while_the_provider_is_down(make: Any, provider: ScriptedProvider) -> None:
    """Known keys are good for the stated time, unknown ones an outage; after it everything is."""
    logins = make(refresh_s=1, retry_s=0.1, serve_stale_s=1.5)
    assert logins.validate(token(provider.issuer)) is not None
    provider.status = 503
    deadline = time.monotonic() + 10
    while logins.ping() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert logins.validate(token(provider.issuer)) is not None
    with pytest.raises(BackendError, match="it answered 503"):
        logins.validate(token(provider.issuer, OTHER, headers={"kid": "next"}))
    fault = ""
    while "too old" not in fault:
        try:
            logins.validate(token(provider.issuer))
        except BackendError as error:
            fault = str(error)
        assert time.monotonic() < deadline
        time.sleep(0.02)
    provider.status = 200
    while True:
        try:
            assert logins.validate(token(provider.issuer)) is not None
            break
        except BackendError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert logins.ping() is None


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 302},
        {"status": 500},
        {"body": b"<html>"},
        {"document": {"padding": "x" * 300_000}},
        {"body": b"[]"},
        {"keys": []},
        {"document": {"issuer": "http://127.0.0.1:1"}},
        {"document": {"jwks_uri": "http://keys.example/"}},
        {"document": {"jwks_uri": "file:///etc/passwd"}},
    ],
    ids=lambda fault: str(fault)[:60],
)
def test_a_provider_that_answers_nonsense_is_an_outage(
    make: Any, provider: ScriptedProvider, fault: dict[str, Any]
) -> None:
    """What cannot be used of a provider is an outage, never a refusal."""
    for name, value in fault.items():
        setattr(provider, name, value)
    with pytest.raises(BackendError):
        make().validate(token(provider.issuer))


def test_a_silent_provider_holds_the_first_callers_for_the_timeout_alone(
    make: Any, provider: ScriptedProvider
) -> None:
    """Before there is any key, callers wait together, no longer than the timeout, for one fetch."""
    provider.hold.clear()
    logins = make(timeout_s=0.5)

    def ask(_: int) -> str:
        try:
            logins.validate(token(provider.issuer))
        except BackendError:
            return "outage"
        return "answered"

    began = time.monotonic()
    with ThreadPoolExecutor(32) as pool:
        assert set(pool.map(ask, range(64))) == {"outage"}
    assert time.monotonic() - began < 2.5
    assert len(provider.asked) == 1


def test_there_is_no_thread_before_and_after(make: Any, provider: ScriptedProvider) -> None:
    """The thread that fetches starts with the first token and ends with close()."""

    def threads() -> int:
        return sum(one.name == "jwt keys" for one in threading.enumerate())

    logins = make()
    logins.validate("lvk_abc")
    assert threads() == 0
    logins.validate(token(provider.issuer))
    assert threads() == 1
    logins.close()
    assert threads() == 0


def test_a_provider_that_hangs_is_an_outage_for_new_keys(make: Any, provider: ScriptedProvider) -> None:
    """While nobody can tell whether a key is new or invented it is no refusal, and known keys go on."""
    logins = make(retry_s=0.1, timeout_s=0.4)
    assert logins.validate(token(provider.issuer)) is not None
    provider.hold.clear()
    deadline, outages = time.monotonic() + 10, 0
    while outages < 3:
        assert time.monotonic() < deadline
        asked = len(provider.asked)
        try:
            logins.validate(token(provider.issuer, OTHER, headers={"kid": "next"}))
        except BackendError:
            outages += 1
        except Refused:
            # Within `retry_s` of an answer: nothing was asked.
            assert outages == 0
            assert len(provider.asked) == asked
        assert logins.validate(token(provider.issuer)) is not None


def test_a_provider_that_drips_is_given_up(make: Any, provider: ScriptedProvider) -> None:
    """The timeout is for the whole of a fetch: headers that come byte by byte do not hold its thread."""
    provider.drip_s = 0.05
    logins = make(timeout_s=0.4, retry_s=60)
    with pytest.raises(BackendError):
        logins.validate(token(provider.issuer))
    deadline = time.monotonic() + 5
    # Its thread has come back and says so, where before it was not known.
    while "in time" not in _outage(logins, provider):
        assert time.monotonic() < deadline
    began = time.monotonic()
    _outage(logins, provider)
    assert time.monotonic() - began < 0.2


def _outage(logins: Any, provider: ScriptedProvider) -> str:
    with pytest.raises(BackendError) as caught:
        logins.validate(token(provider.issuer))
    return str(caught.value)


def test_one_odd_key_locks_nobody_out(make: Any, provider: ScriptedProvider) -> None:
    """Keys that cannot be read, are weak or are for something else are passed over; the others are good."""
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    odd = [
        *({"kty": "RSA", "kid": "number", "n": 1, "e": "AQAB"}, {"kty": "oct", "kid": "oct", "k": "AAAA"}, 7),
        {"kty": "EC", "kid": "nowhere", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "EC", "kid": "curve", "crv": ["P-256"], "x": "AA", "y": "AA"},
        public(weak, "weak"),
        public(OTHER, "wraps", use=None, key_ops=["wrapKey"]),
        public(OTHER, "another", alg="RSA-OAEP"),
    ]
    provider.keys = [*odd, *provider.keys]  # type: ignore[list-item]  # as a provider may
    logins = make(retry_s=60)
    assert logins.validate(token(provider.issuer)) is not None
    for key, key_id in ((weak, "weak"), (OTHER, "wraps"), (OTHER, "another")):
        with pytest.warns() if key is weak else nullcontext(), pytest.raises(Refused):
            logins.validate(token(provider.issuer, key, headers={"kid": key_id}))


def test_no_redirect_is_followed(make: Any, provider: ScriptedProvider) -> None:
    """Keys come from the address in the settings, and not from where it points."""
    provider.status, provider.headers = 302, {"Location": f"{provider.issuer}/elsewhere"}
    assert "it answered 302" in _outage(make(), provider)
    assert provider.asked == ["/.well-known/openid-configuration"]


def test_certificates_are_checked(make: Any, tmp_path: Path) -> None:
    """A certificate that nobody vouches for is an outage, and one of the operator's own CA is good."""
    file, context = own_certificate(tmp_path)
    provider = ScriptedProvider(context)
    try:
        provider.keys = [public(RSA, "rsa")]
        assert "CertificateError" in _outage(make(issuer=provider.issuer, timeout_s=5), provider)
        trusting = make(issuer=provider.issuer, timeout_s=5, ca_file=str(file))
        assert trusting.validate(token(provider.issuer)) is not None
    finally:
        provider.close()


def test_keys_are_found_without_a_document(make: Any, provider: ScriptedProvider) -> None:
    """With `jwks_url` the provider's document is not asked for."""
    logins = make(jwks_url=f"{provider.issuer}/keys")
    assert logins.validate(token(provider.issuer)) is not None
    assert provider.asked == ["/keys"]
