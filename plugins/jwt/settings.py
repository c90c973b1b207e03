"""The settings under `backends.jwt`, checked without a connection."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from marshmallow import Schema, ValidationError, fields, validate, validates

ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)


class Listed(fields.List[str]):
    """A list of names, or one comma-separated text."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(fields.String(), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        return super()._deserialize(value, attr, data, **kwargs)


def _seconds(default: float, least: float, most: float) -> fields.Float:
    bounds = validate.Range(min=least, max=most, error="not a number of seconds from {min} to {max}")
    return fields.Float(load_default=default, validate=bounds)


class ClaimsSchema(Schema):
    """Where in a token's claims the caller stands: a claim's name, or a path such as `org.name`.

    An empty one is not looked for; whatever it would limit is then unlimited.
    """

    owner = fields.String(load_default="email")
    name = fields.String(load_default="name")
    org = fields.String(load_default="")
    subject = fields.String(load_default="sub")
    allowed_assistants = fields.String(load_default="")
    rate_limit = fields.String(load_default="")

    @validates("owner")
    @validates("subject")
    def check_filled(self, path: str, data_key: str) -> None:
        """Raise `ValidationError` if nothing would say who calls."""
        if not path:
            raise ValidationError("missing: the claim that says who calls")


class JwtSettings(Schema):
    """Whose tokens are taken and what they have to say; times in seconds."""

    issuer = fields.String(required=True)
    audience = Listed(required=True)
    algorithms = Listed(load_default=["RS256", "ES256", "EdDSA"])
    jwks_url = fields.String(load_default="")
    owner = fields.String(load_default="")
    max_concurrent_calls = fields.Integer(
        load_default=None, allow_none=True, validate=validate.Range(min=0, error="below 0")
    )
    trust_unverified_email = fields.Boolean(load_default=False)
    claims = fields.Nested(ClaimsSchema, load_default=lambda: ClaimsSchema().load({}))
    required_claims = fields.Dict(keys=fields.String(), load_default=dict)
    leeway_s = _seconds(30, 0, 300)
    timeout_s = _seconds(3, 0.1, 60)
    refresh_s = _seconds(3600, 1, 86400)
    retry_s = _seconds(10, 0.1, 3600)
    serve_stale_s = _seconds(86400, 0, 30 * 86400)
    ca_file = fields.String(load_default="")

    @validates("issuer")
    def check_issuer(self, issuer: str, data_key: str) -> None:
        """Raise `ValidationError` unless the provider can be asked safely, and the extra is there."""
        try:
            import aiohttp  # noqa: F401  # whether they are there
            import cryptography  # noqa: F401
            import jwt  # noqa: F401
        except ImportError:
            raise ValidationError("needs the extra: pip install '.[jwt]' in the checkout") from None
        if not issuer:
            raise ValidationError("missing: the provider's address, as tokens have it in `iss`")
        check_address(issuer)

    @validates("jwks_url")
    def check_jwks_url(self, url: str, data_key: str) -> None:
        """Raise `ValidationError` unless it can be asked safely."""
        if url:
            check_address(url)

    @validates("audience")
    def check_audience(self, audience: list[str], data_key: str) -> None:
        """Raise `ValidationError` if tokens for any application would do."""
        if not audience:
            raise ValidationError("missing: what tokens for this service have in `aud`")

    @validates("algorithms")
    def check_algorithms(self, algorithms: list[str], data_key: str) -> None:
        """Raise `ValidationError` for anything but signatures by a key pair (RFC 8725, section 3.1)."""
        for name in algorithms:
            if name not in ALGORITHMS:
                raise ValidationError(
                    f"takes {', '.join(ALGORITHMS)} only: neither none nor HS256 proves a login"
                )
        if not algorithms:
            raise ValidationError("missing: RS256, for example")

    @validates("required_claims")
    def check_required_claims(self, required: dict[str, Any], data_key: str) -> None:
        """Raise `ValidationError` for what no token's claim could be, which would lock everybody out."""
        for wanted in required.values():
            values = wanted if isinstance(wanted, list) else [wanted]
            if not values or not all(isinstance(one, str | bool | int | float) for one in values):
                raise ValidationError("not a value, or a list of values, for each claim")

    @validates("ca_file")
    def check_ca_file(self, ca_file: str, data_key: str) -> None:
        """Raise `ValidationError` if it names no file."""
        if ca_file and not Path(ca_file).is_file():
            raise ValidationError("no such file: give the path of a PEM file with the CA's certificate")


def check_address(address: str) -> None:
    """Raise `ValidationError` unless keys can be fetched there: https, or http on this machine."""
    if address.split() != [address]:
        # From a file, say, with its newline: no token's `iss` has it, and no request would succeed.
        raise ValidationError("holds white space: remove it")
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if not host or parts.scheme not in ("https", "http") or parts.username is not None:
        raise ValidationError("not a web address such as https://login.example.com")
    if parts.scheme == "http" and not _loopback(host):
        raise ValidationError("not encrypted: keys come over https; http:// is for this machine only")


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
