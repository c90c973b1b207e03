"""Logins: which tokens are taken, and which are not, whatever they say of themselves."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from marshmallow import ValidationError

from plugins.jwt.logins import LONGEST, Logins
from plugins.jwt.settings import JwtSettings
from tests.support.oidc import ScriptedProvider
from webcall.errors import BackendError, Refused
from webcall.interfaces import Caller

ALGORITHMS = {"RS256": jwt.algorithms.RSAAlgorithm, "ES256": jwt.algorithms.ECAlgorithm}
RSA, OTHER = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
EC, ED = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()


def public(key: Any, key_id: str, **more: Any) -> dict[str, Any]:
    """Return the public half as a provider lists it."""
    kind = {
        rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
        ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
        ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm,
    }
    [algorithm] = [made for known, made in kind.items() if isinstance(key, known)]
    found: dict[str, Any] = json.loads(algorithm.to_jwk(key.public_key()))
    return {**found, "kid": key_id, "use": "sig", **more}


@pytest.fixture
def provider(scripted_provider: ScriptedProvider) -> ScriptedProvider:
    scripted_provider.keys = [
        public(RSA, "rsa", alg="RS256"),
        public(EC, "ec"),
        public(ED, "ed"),
        public(OTHER, "enc", use="enc"),
    ]
    return scripted_provider


@pytest.fixture
def make(provider: ScriptedProvider) -> Iterator[Any]:
    made: list[Logins] = []

    def make(**settings: Any) -> Logins:
        values = {"issuer": provider.issuer, "audience": "webcall", "timeout_s": 2, "leeway_s": 5}
        made.append(Logins(JwtSettings().load({**values, **settings})))
        return made[-1]

    yield make
    provider.hold.set()
    for one in made:
        one.close()


def token(
    provider: ScriptedProvider,
    key: Any = RSA,
    algorithm: str = "RS256",
    headers: dict[str, Any] | None = None,
    **claims: Any,
) -> str:
    now = int(time.time())
    payload = {
        "iss": provider.issuer,
        "aud": "webcall",
        "sub": "person-1",
        "email": "ada@example.com",
        "iat": now,
        "exp": now + 300,
        **claims,
    }
    payload = {name: value for name, value in payload.items() if value is not None}
    return jwt.encode(payload, key, algorithm, {"kid": "rsa"} if headers is None else headers)


def test_a_login_is_a_caller(make: Any, provider: ScriptedProvider) -> None:
    """Owner, person, organisation, assistants and rate come from the claims that the settings name."""
    paths = {
        "org": "org.name",
        "allowed_assistants": "https://example.com/assistants",
        "rate_limit": "limits.rate",
    }
    sent = token(
        provider,
        name="Ada",
        org={"name": "Engines"},
        limits={"rate": "5/minute"},
        **{"https://example.com/assistants": ["a", "b"]},
    )
    found = make(claims=paths).validate(sent)
    ends = datetime.fromtimestamp(jwt.decode(sent, options={"verify_signature": False})["exp"] + 5, UTC)
    assert isinstance(found, Caller)
    assert (found.email, found.name, found.org, found.subject) == (
        "ada@example.com",
        "Ada",
        "Engines",
        "person-1",
    )
    assert found.allowed_assistants == frozenset({"a", "b"})
    assert (found.rate_limit, found.expires_at) == ("5/minute", ends)
    assert found.key_id is not None
    assert "person" not in found.key_id
    nothing_said = make(claims=paths).validate(token(provider))
    assert nothing_said.allowed_assistants == frozenset()


@pytest.mark.parametrize(
    ("key", "algorithm", "key_id"), [(RSA, "RS256", "rsa"), (EC, "ES256", "ec"), (ED, "EdDSA", "ed")]
)
def test_each_allowed_algorithm_is_taken(
    make: Any, provider: ScriptedProvider, key: Any, algorithm: str, key_id: str
) -> None:
    """RSA, elliptic curves and Edwards curves are taken, by key id or, alone of their kind, without."""
    logins = make()
    for headers in ({"kid": key_id}, {}):
        assert logins.validate(token(provider, key, algorithm, headers)) is not None


def pem(key: Any) -> bytes:
    public_key = key.public_key()
    written: bytes = public_key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return written


def _by_hand(header: dict[str, Any], claims: dict[str, Any], signature: bytes) -> str:
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def _claims(provider: ScriptedProvider) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token(provider), options={"verify_signature": False})
    return found


def _hmac_with_the_public_key(provider: ScriptedProvider) -> str:
    header = {"alg": "HS256", "typ": "JWT", "kid": "rsa"}
    unsigned = _by_hand(header, _claims(provider), b"").removesuffix(".")
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        unsigned.encode(), pem(RSA)
    )
    return f"{unsigned}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def _changed(provider: ScriptedProvider) -> str:
    header, _, signature = token(provider).split(".")
    claims = json.dumps({**_claims(provider), "email": "eve@example.com"}).encode()
    return f"{header}.{base64.urlsafe_b64encode(claims).rstrip(b'=').decode()}.{signature}"


NOW = int(time.time())
FORGED: dict[str, Any] = {
    "another key": lambda p: token(p, OTHER),
    "another key of its own kid": lambda p: token(p, OTHER, headers={"kid": "enc"}),
    "another kind of key": lambda p: token(p, EC, "ES256", {"kid": "rsa"}),
    "swapped algorithm": lambda p: token(p, RSA, "PS256", {"kid": "rsa"}),
    "HS256 with the public key": _hmac_with_the_public_key,
    "none": lambda p: _by_hand({"alg": "none", "kid": "rsa"}, _claims(p), b""),
    "NONE": lambda p: _by_hand({"alg": "NoNe", "kid": "rsa"}, _claims(p), b""),
    "no algorithm": lambda p: _by_hand({"kid": "rsa"}, _claims(p), b"x"),
    "an algorithm that is a list": lambda p: _by_hand({"alg": ["RS256"], "kid": "rsa"}, _claims(p), b"x"),
    "no signature": lambda p: _by_hand({"alg": "RS256", "kid": "rsa"}, _claims(p), b""),
    "changed claims": _changed,
    "another audience": lambda p: token(p, aud="another"),
    "no audience": lambda p: token(p, aud=None),
    "expired": lambda p: token(p, exp=NOW - 3600),
    "no end": lambda p: token(p, exp=None),
    "an endless end": lambda p: token(p, exp=10**30),
    "from the future": lambda p: token(p, iat=NOW + 3600),
    "not yet": lambda p: token(p, nbf=NOW + 3600),
    "kid with a path": lambda p: token(p, headers={"kid": "../../../dev/null"}),
    "kid with an address": lambda p: token(p, OTHER, headers={"kid": f"{p.issuer}/evil"}),
    "kid that is no text": lambda p: _by_hand({"alg": "RS256", "kid": {"a": 1}}, _claims(p), b"x"),
    "embedded jwk": lambda p: token(p, OTHER, headers={"kid": "mine", "jwk": public(OTHER, "mine")}),
    "jku": lambda p: token(p, OTHER, headers={"kid": "mine", "jku": f"{p.issuer}/evil"}),
    "x5u": lambda p: token(p, OTHER, headers={"kid": "mine", "x5u": f"{p.issuer}/evil"}),
    "crit": lambda p: token(p, headers={"kid": "rsa", "crit": ["exp"]}),
    "no subject": lambda p: token(p, sub=None),
    "no owner": lambda p: token(p, email=None),
    "unverified email": lambda p: token(p, email_verified=False),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_token_is_refused(make: Any, provider: ScriptedProvider, name: str) -> None:
    """It is refused, another validator is not asked, and no address in it is."""
    with pytest.raises(Refused):
        make().validate(FORGED[name](provider))
    assert not [path for path in provider.asked if "evil" in path]


@pytest.mark.parametrize(
    "sent",
    [
        "lvk_abc",
        "a.b.c",
        "..",
        "e30.e30.e30",
        "x" * 1_000_000,
        "\udc80.\udc80.\udc80",
        "W10.W10.x",
        "." * 50_000,
    ],
    ids=lambda sent: sent[:12],
)
def test_what_is_no_token_of_the_issuer_costs_nothing(
    make: Any, provider: ScriptedProvider, sent: str
) -> None:
    """Other keys, and tokens of another issuer or of any length, are unknown without asking the provider."""
    logins = make()
    assert logins.validate(sent) is None
    assert logins.validate(token(provider, iss="https://another.example")) is None
    assert logins.validate(token(provider, filling="x" * LONGEST)) is None
    assert provider.asked == []


def test_required_claims_are_required(make: Any, provider: ScriptedProvider) -> None:
    """A claim has to be there with one of its values, or hold one in its list."""
    logins = make(required_claims={"groups": ["voice", "admin"], "tenant.id": "t1"})
    good = token(provider, groups=["x", "voice"], tenant={"id": "t1"})
    assert logins.validate(good) is not None
    for claims in ({}, {"groups": ["x"], "tenant": {"id": "t1"}}, {"groups": "admin", "tenant": "t1"}):
        with pytest.raises(Refused):
            logins.validate(token(provider, **claims))


def test_a_new_key_of_the_provider_is_found(make: Any, provider: ScriptedProvider) -> None:
    """A rotation is noticed at the first token with the new key; the removed one is good no more."""
    logins = make(retry_s=0.1)
    assert logins.validate(token(provider)) is not None
    provider.keys = [public(OTHER, "next")]
    deadline = time.monotonic() + 10
    while True:
        try:
            assert logins.validate(token(provider, OTHER, headers={"kid": "next"})) is not None
            break
        except Refused:
            assert time.monotonic() < deadline
    with pytest.raises(Refused):
        logins.validate(token(provider))


def test_invented_key_ids_do_not_reach_the_provider(make: Any, provider: ScriptedProvider) -> None:
    """64 threads with hundreds of invented ids cost the provider one fetch beyond the first."""
    logins = make(retry_s=60)
    logins.validate(token(provider))

    def ask(number: int) -> str:
        try:
            logins.validate(token(provider, OTHER, headers={"kid": f"invented-{number}"}))
        except Refused:
            return "refused"
        return "taken"

    with ThreadPoolExecutor(64) as pool:
        assert set(pool.map(ask, range(300))) == {"refused"}
    assert provider.fetches <= 2


def test_kept_keys_serve_while_the_provider_is_down(make: Any, provider: ScriptedProvider) -> None:
    """Known keys are good for the stated time, unknown ones an outage; after it everything is."""
    logins = make(refresh_s=1, retry_s=0.1, serve_stale_s=1.5)
    assert logins.validate(token(provider)) is not None
    provider.status = 503
    deadline = time.monotonic() + 10
    while logins.ping() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert logins.validate(token(provider)) is not None
    with pytest.raises(BackendError, match="does not answer"):
        logins.validate(token(provider, OTHER, headers={"kid": "next"}))
    fault = ""
    while "too old" not in fault:
        try:
            logins.validate(token(provider))
        except BackendError as error:
            fault = str(error)
        assert time.monotonic() < deadline
        time.sleep(0.02)
    provider.status = 200
    while True:
        try:
            assert logins.validate(token(provider)) is not None
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
        {"body": b"x" * 300_000},
        {"body": b"[]"},
        {"keys": []},
        {"document": {"issuer": "http://127.0.0.1:1"}},
        {"document": {"jwks_uri": "http://keys.example/"}},
        {"document": {"jwks_uri": "file:///etc/passwd"}},
    ],
    ids=str,
)
def test_a_provider_that_answers_nonsense_is_an_outage(
    make: Any, provider: ScriptedProvider, fault: dict[str, Any]
) -> None:
    """What cannot be used of a provider is an outage, never a refusal."""
    for name, value in fault.items():
        setattr(provider, name, value)
    with pytest.raises(BackendError):
        make().validate(token(provider))


def test_a_silent_provider_holds_the_first_callers_for_the_timeout_alone(
    make: Any, provider: ScriptedProvider
) -> None:
    """Before there is any key, callers wait together, no longer than the timeout, for one fetch."""
    provider.hold.clear()
    logins = make(timeout_s=0.5)

    def ask(_: int) -> str:
        try:
            logins.validate(token(provider))
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
    logins.validate(token(provider))
    assert threads() == 1
    logins.close()
    assert threads() == 0


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"issuer": ""}, "missing"),
        ({"issuer": "http://login.example.com"}, "not encrypted"),
        ({"audience": ""}, "missing"),
        ({"algorithms": "RS256,HS256"}, "neither none nor HS256"),
        ({"algorithms": ["none"]}, "neither none nor HS256"),
        ({"jwks_url": "file:///etc/passwd"}, "not a web address"),
        ({"claims": {"owner": ""}}, "the claim that says who calls"),
    ],
)
def test_unusable_settings_are_faults(settings: dict[str, Any], told: str) -> None:
    """What would let anybody in, or nobody, is told at the start."""
    with pytest.raises(ValidationError) as caught:
        JwtSettings().load({"issuer": "https://login.example.com", "audience": "webcall", **settings})
    assert told in str(caught.value.messages)
