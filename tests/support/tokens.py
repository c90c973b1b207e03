"""Signed tokens as a provider issues them, and as somebody forges them."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

RSA, OTHER = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
EC, ED = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
AUDIENCE, SUBJECT, EMAIL = "webcall", "person-1", "ada@example.com"

_KINDS: dict[type[Any], Any] = {
    rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
    ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
    ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm,
}


def public(key: Any, key_id: str, **more: Any) -> dict[str, Any]:
    """Return the public half as a provider lists it; without the entries of `more` that are None."""
    [algorithm] = [made for known, made in _KINDS.items() if isinstance(key, known)]
    found = {**json.loads(algorithm.to_jwk(key.public_key())), "kid": key_id, "use": "sig", **more}
    return {name: value for name, value in found.items() if value is not None}


def key_set() -> list[dict[str, Any]]:
    """Return a provider's keys: one for each kind, and one that is not for signatures."""
    return [
        public(RSA, "rsa", alg="RS256"),
        public(EC, "ec"),
        public(ED, "ed"),
        public(OTHER, "enc", use="enc"),
    ]


def claims_of(issuer: str, **claims: Any) -> dict[str, Any]:
    """Return what a good token says; without the claims that are None."""
    now = int(time.time())
    payload = {
        "iss": issuer,
        "aud": AUDIENCE,
        "sub": SUBJECT,
        "email": EMAIL,
        "iat": now,
        "exp": now + 300,
        **claims,
    }
    return {name: value for name, value in payload.items() if value is not None}


def token(
    issuer: str,
    key: Any = RSA,
    algorithm: str = "RS256",
    headers: dict[str, Any] | None = None,
    **claims: Any,
) -> str:
    """Return a good token, but for what the arguments change."""
    # Not `jwt.encode`, which checks the claims that a provider's mistake may have.
    payload = json.dumps(claims_of(issuer, **claims)).encode()
    signer = jwt.PyJWS()
    return signer.encode(payload, key, algorithm, {"kid": "rsa"} if headers is None else headers)


def _encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def by_hand(header: dict[str, Any], claims: dict[str, Any], signature: bytes) -> str:
    """Return a token with any header and signature."""
    return ".".join(
        _encoded(part) for part in (*(json.dumps(p).encode() for p in (header, claims)), signature)
    )


def _hmac_with_the_public_key(issuer: str) -> str:
    header = {"alg": "HS256", "typ": "JWT", "kid": "rsa"}
    unsigned = by_hand(header, claims_of(issuer), b"").removesuffix(".")
    pem = RSA.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    signer = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    return f"{unsigned}.{_encoded(signer.sign(unsigned.encode(), pem))}"


def _changed(issuer: str) -> str:
    header, _, signature = token(issuer).split(".")
    claims = json.dumps(claims_of(issuer, email="eve@example.com")).encode()
    return f"{header}.{_encoded(claims)}.{signature}"


def _mine(issuer: str, **header: Any) -> str:
    return token(issuer, OTHER, headers={"kid": "mine", **header})


def _now() -> int:
    return int(time.time())


Forge = Callable[[str, str], str]
"""Makes a token, from the issuer and an address that nobody may ask."""

FORGED: dict[str, Forge] = {
    "another key": lambda issuer, _: token(issuer, OTHER),
    "a key that is for encryption": lambda issuer, _: token(issuer, OTHER, headers={"kid": "enc"}),
    "another kind of key": lambda issuer, _: token(issuer, EC, "ES256", {"kid": "rsa"}),
    "swapped algorithm": lambda issuer, _: token(issuer, RSA, "PS256", {"kid": "rsa"}),
    "HS256 with the public key": lambda issuer, _: _hmac_with_the_public_key(issuer),
    "none": lambda issuer, _: by_hand({"alg": "none", "kid": "rsa"}, claims_of(issuer), b""),
    "NoNe": lambda issuer, _: by_hand({"alg": "NoNe", "kid": "rsa"}, claims_of(issuer), b""),
    "no algorithm": lambda issuer, _: by_hand({"kid": "rsa"}, claims_of(issuer), b"x"),
    "a list of algorithms": lambda issuer, _: by_hand(
        {"alg": ["RS256"], "kid": "rsa"}, claims_of(issuer), b"x"
    ),
    "no signature": lambda issuer, _: by_hand({"alg": "RS256", "kid": "rsa"}, claims_of(issuer), b""),
    "changed claims": lambda issuer, _: _changed(issuer),
    "another audience": lambda issuer, _: token(issuer, aud="another"),
    "no audience": lambda issuer, _: token(issuer, aud=None),
    "expired": lambda issuer, _: token(issuer, exp=_now() - 3600),
    "no end": lambda issuer, _: token(issuer, exp=None),
    "an end past all years": lambda issuer, _: token(issuer, exp=10**30),
    "an end without end": lambda issuer, _: token(issuer, exp=float("inf")),
    "an end that is a list": lambda issuer, _: token(issuer, exp=[_now() + 60]),
    "from the future": lambda issuer, _: token(issuer, iat=_now() + 3600),
    "not yet": lambda issuer, _: token(issuer, nbf=_now() + 3600),
    "kid with a path": lambda issuer, _: token(issuer, headers={"kid": "../../../dev/null"}),
    "kid with an address": lambda issuer, evil: token(issuer, OTHER, headers={"kid": evil}),
    "kid that is no text": lambda issuer, _: by_hand(
        {"alg": "RS256", "kid": {"a": 1}}, claims_of(issuer), b"x"
    ),
    "embedded jwk": lambda issuer, _: _mine(issuer, jwk=public(OTHER, "mine")),
    "jku": lambda issuer, evil: _mine(issuer, jku=evil),
    "x5u": lambda issuer, evil: _mine(issuer, x5u=evil),
    "crit": lambda issuer, _: token(issuer, headers={"kid": "rsa", "crit": ["b64"], "b64": True}),
    "no subject": lambda issuer, _: token(issuer, sub=None),
    "a subject that is a number": lambda issuer, _: token(issuer, sub=1),
    "no owner": lambda issuer, _: token(issuer, email=None),
    "unverified email": lambda issuer, _: token(issuer, email_verified=False),
}
"""Tokens of the issuer's name that have to be refused."""

NOT_OURS: dict[str, Forge] = {
    "another issuer": lambda issuer, evil: token(evil),
    "our issuer with a slash": lambda issuer, _: token(f"{issuer}/"),
    "no issuer": lambda issuer, _: token(issuer, iss=None),
    "two issuers": lambda issuer, _: token(issuer, iss=[issuer]),
    "1 MB": lambda issuer, _: token(issuer, filling="x" * 1_000_000),
}
"""Tokens that are another validator's, if anybody's."""
