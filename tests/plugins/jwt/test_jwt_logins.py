"""Logins: which tokens are taken, and which are not, whatever they say of themselves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from marshmallow import ValidationError

from plugins.jwt.logins import LONGEST
from plugins.jwt.settings import JwtSettings
from tests.support.oidc import ScriptedProvider
from tests.support.tokens import EC, ED, FORGED, RSA, token
from webcall.errors import RecordError, Refused
from webcall.interfaces import Caller


def test_a_login_is_a_caller(make: Any, provider: ScriptedProvider) -> None:
    """Owner, person, organisation, assistants and rate come from the claims that the settings name."""
    paths = {
        "org": "org.name",
        "allowed_assistants": "https://example.com/assistants",
        "rate_limit": "limits.rate",
    }
    sent = token(
        provider.issuer,
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
    nothing_said = make(claims=paths).validate(token(provider.issuer))
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
        assert logins.validate(token(provider.issuer, key, algorithm, headers)) is not None


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_token_is_refused(make: Any, provider: ScriptedProvider, name: str) -> None:
    """It is refused, another validator is not asked, and no address in it is."""
    with pytest.raises(Refused):
        make().validate(FORGED[name](provider.issuer, f"{provider.issuer}/evil"))
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
    assert logins.validate(token(provider.issuer, iss="https://another.example")) is None
    assert logins.validate(token(provider.issuer, filling="x" * LONGEST)) is None
    # Another spelling of the same bytes is no token (RFC 7515, section 2).
    assert logins.validate(token(provider.issuer) + "==") is None
    assert logins.validate(token(provider.issuer).replace(".", ".!", 1)) is None
    assert provider.asked == []


def test_an_owner_for_everybody(make: Any, provider: ScriptedProvider) -> None:
    """With an owner in the settings people stay themselves, and their own address does not count."""
    found = make(owner="staff@example.com", max_concurrent_calls=2).validate(token(provider.issuer))
    assert (found.email, found.subject, found.max_concurrent_calls) == ("staff@example.com", "person-1", 2)
    without = token(provider.issuer, email=None, email_verified=False)
    assert make(owner="staff@example.com").validate(without).email == "staff@example.com"


@pytest.mark.parametrize(
    ("verified", "taken"), [(True, True), ("true", True), (None, True), (False, False), ("false", False)]
)
def test_an_address_that_is_not_verified_makes_no_owner(
    make: Any, provider: ScriptedProvider, verified: Any, taken: bool
) -> None:
    """At the top or in a path, what the provider says of the address counts, if it says anything."""
    flat = {"email_verified": verified}
    nested = {"email": None, "user": {"email": "ada@example.com", "email_verified": verified}}
    for claims, settings in ((flat, {}), (nested, {"claims": {"owner": "user.email"}})):
        sent = token(provider.issuer, **claims)
        assert make(**settings, trust_unverified_email=True).validate(sent) is not None
        if taken:
            assert make(**settings).validate(sent) is not None
        else:
            with pytest.raises(Refused):
                make(**settings).validate(sent)


@pytest.mark.parametrize(
    "claims", [{"rate": 5}, {"rate": ["1/minute"]}, {"ids": {"a": 1}}, {"ids": [1]}, {"org": ["x"]}], ids=str
)
def test_a_limit_of_another_form_is_no_freedom(
    make: Any, provider: ScriptedProvider, claims: dict[str, Any]
) -> None:
    """A mapped claim that cannot be what it is mapped to is a fault, told without its value."""
    paths = {"rate_limit": "rate", "allowed_assistants": "ids", "org": "org"}
    with pytest.raises(RecordError, match=r"^jwt: a login's claims, taken as a record: .*: \w+: "):
        make(claims=paths).validate(token(provider.issuer, **{"ids": "a b", **claims}))
    good = make(claims=paths).validate(token(provider.issuer, ids="a b", rate="1/minute"))
    assert good.allowed_assistants == frozenset("ab")


def test_required_claims_are_required(make: Any, provider: ScriptedProvider) -> None:
    """A claim has to be there with one of its values, or hold one in its list."""
    logins = make(required_claims={"groups": ["voice", "admin"], "tenant.id": "t1"})
    good = token(provider.issuer, groups=["x", "voice"], tenant={"id": "t1"})
    assert logins.validate(good) is not None
    for claims in ({}, {"groups": ["x"], "tenant": {"id": "t1"}}, {"groups": "admin", "tenant": "t1"}):
        with pytest.raises(Refused):
            logins.validate(token(provider.issuer, **claims))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"issuer": ""}, "missing"),
        ({"issuer": "http://login.example.com"}, "not encrypted"),
        ({"audience": ""}, "missing"),
        ({"algorithms": "RS256,HS256"}, "neither none nor HS256"),
        ({"algorithms": ["none"]}, "neither none nor HS256"),
        ({"jwks_url": "file:///etc/passwd"}, "not a web address"),
        ({"jwks_url": "https://login.example.com/keys\n"}, "holds white space"),
        ({"issuer": "https://login.example.com "}, "holds white space"),
        ({"claims": {"owner": ""}}, "the claim that says who calls"),
        ({"required_claims": {"groups": []}}, "not a value"),
        ({"required_claims": {"groups": {"a": 1}}}, "not a value"),
        ({"ca_file": "/nowhere.pem"}, "no such file"),
    ],
)
def test_unusable_settings_are_faults(settings: dict[str, Any], told: str) -> None:
    """What would let anybody in, or nobody, is told at the start."""
    with pytest.raises(ValidationError) as caught:
        JwtSettings().load({"issuer": "https://login.example.com", "audience": "webcall", **settings})
    assert told in str(caught.value.messages)
