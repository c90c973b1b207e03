"""What a provider publishes of itself: its document, and its keys. Fetched whole, in time, or not at all."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from marshmallow import ValidationError

from plugins.jwt.settings import check_address
from webcall.client_resolver import ClientResolver
from webcall.loop_thread import LoopThread
from webcall.resolver import Resolver

LARGEST_ANSWER = 1 << 18
_SLACK_S = 0.5
SMALLEST_RSA = 2048
"""Bits, as RFC 7518 asks for in sections 3.3 and 3.5."""

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
# By kind and curve (RFC 7518, section 6; RFC 8037): a key is never one for another algorithm.
_ALGORITHMS: Mapping[tuple[Any, Any], tuple[str, ...]] = {
    ("RSA", None): _RSA,
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
    ("OKP", "Ed448"): ("EdDSA",),
}


class Unusable(Exception):
    """What the provider answered cannot be used; says why, without quoting it."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public key: its `kid`, and the algorithms that a token may name for it."""

    id: str | None
    algorithms: frozenset[str]
    key: Any


def fetch(
    *, issuer: str, jwks_url: str, algorithms: Collection[str], timeout_s: float, ca_file: str
) -> tuple[SigningKey, ...]:
    """Return the provider's keys for these algorithms, found by its document unless `jwks_url` is given.

    Follows no redirect, and asks no address that a token names. Raises `Unusable`, and whatever the
    network does, when `timeout_s` for all of it is over at the latest.
    """
    loop = LoopThread("jwt fetch")
    try:
        listed = loop.submit(_listed(issuer, jwks_url, timeout_s, ca_file))
        found = listed.result(timeout_s + _SLACK_S)
    finally:
        loop.close()
    keys = tuple(key for entry in found if (key := signing_key(entry, algorithms)) is not None)
    if not keys:
        raise Unusable("it has no key for signatures of the allowed algorithms")
    return keys


async def _listed(issuer: str, jwks_url: str, timeout_s: float, ca_file: str) -> list[Any]:
    context = ssl.create_default_context(cafile=ca_file or None)
    async with (
        asyncio.timeout(timeout_s),
        aiohttp.ClientSession(
            # Neither this fetch nor the end of the process waits for a look-up that hangs.
            connector=aiohttp.TCPConnector(ssl=context, resolver=ClientResolver(Resolver())),
            cookie_jar=aiohttp.DummyCookieJar(),
            # As it stands, never inflated: a small answer may not become a large one.
            auto_decompress=False,
            trust_env=False,
        ) as session,
    ):
        if not jwks_url:
            document = await _get(session, issuer.rstrip("/") + "/.well-known/openid-configuration")
            if document.get("issuer") != issuer:
                # OpenID Connect Discovery, section 4.3.
                raise Unusable("its document is of another issuer")
            jwks_url = str(document.get("jwks_uri"))
            try:
                check_address(jwks_url)
            except ValidationError:
                raise Unusable("its document names a jwks_uri that is not encrypted") from None
        listed = (await _get(session, jwks_url)).get("keys")
    return listed if isinstance(listed, list) else []


async def _get(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    async with session.get(url, headers=headers, allow_redirects=False) as answer:
        if answer.status != 200:
            raise Unusable(f"it answered {answer.status}")
        content = b""
        async for part in answer.content.iter_any():
            content += part
            if len(content) > LARGEST_ANSWER:
                raise Unusable("its answer is too large")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Unusable("its answer is no JSON object")
    return found


def signing_key(entry: Any, allowed: Collection[str]) -> SigningKey | None:
    """Return a key of the set; None for one of another use or kind, or that cannot be read.

    RFC 7517, section 5: what is not understood is passed over, so that one odd key locks nobody out.
    """
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    operations, key_id = entry.get("key_ops", ["verify"]), entry.get("kid")
    if not isinstance(operations, list) or "verify" not in operations or not isinstance(key_id, str | None):
        return None
    try:
        kind = entry.get("kty")
        fitting = _ALGORITHMS.get((kind, None if kind == "RSA" else entry.get("crv")), ())
        algorithms = frozenset(name for name in fitting if name in allowed and entry.get("alg", name) == name)
        if not algorithms:
            return None
        public = {name: value for name, value in entry.items() if name != "d"}
        key = jwt.PyJWK(public, algorithm=min(algorithms)).key
    except Exception:  # numbers that are none, points that are on no curve: each its own way
        return None
    if isinstance(key, RSAPublicKey) and key.key_size < SMALLEST_RSA:
        return None
    return SigningKey(key_id, algorithms, key)
