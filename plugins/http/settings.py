"""The settings under `backends.http`, checked without a connection."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from marshmallow import Schema, ValidationError, fields, validate, validates

SHORTEST_SECRET = 32
FIX = "write https://host/path; http:// is for a service on this machine only"


class Secrets(fields.Field[tuple[str, ...]]):
    """One secret, or several, the newest first, as a list or comma-separated."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[str, ...]:
        listed = value.split(",") if isinstance(value, str) else value
        if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
            raise ValidationError("not text: put it in quotes")
        secrets = tuple(one.strip() for one in listed if one.strip())
        if not secrets:
            raise ValidationError("missing: the secret that both sides share")
        if any(len(one.encode()) < SHORTEST_SECRET for one in secrets):
            raise ValidationError(f"shorter than {SHORTEST_SECRET} bytes: `openssl rand -hex 32` makes one")
        return secrets


class HttpSettings(Schema):
    """Where the service is, what it is sent, and how long one whole exchange may take, in seconds."""

    url = fields.String(required=True)
    secret = Secrets(required=True)
    send = fields.String(
        load_default="hash", validate=validate.OneOf(["hash", "key"], error="neither hash nor key")
    )
    timeout_s = fields.Float(
        load_default=2.0,
        validate=validate.Range(min=0.1, max=60, error="not a number of seconds from {min} to {max}"),
    )
    max_connections = fields.Integer(
        load_default=16, validate=validate.Range(min=1, max=1000, error="not a number from {min} to {max}")
    )
    max_answer_bytes = fields.Integer(
        load_default=1 << 20,
        validate=validate.Range(min=1024, max=1 << 26, error="not a number from {min} to {max}"),
    )
    ca_file = fields.String(load_default="")

    @validates("url")
    def check_url(self, url: str, data_key: str) -> None:
        """Raise `ValidationError`, which quotes nothing of it, unless it can be asked safely."""
        try:
            import aiohttp  # noqa: F401  # whether it is there
        except ImportError:
            raise ValidationError("needs the extra: pip install '.[http]' in the checkout") from None
        if not url:
            raise ValidationError(f"missing: {FIX}")
        if url.split() != [url]:
            # From a file, say, with its newline: each request would fail by it, as if the service were away.
            raise ValidationError("holds white space: remove it")
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise ValidationError(f"not a web address: {FIX}") from None
        if parts.scheme not in ("https", "http") or not host:
            raise ValidationError(f"not a web address: {FIX}")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValidationError("has a user, a query or a fragment: leave them out")
        if parts.scheme == "http" and not _loopback(host):
            raise ValidationError(f"not encrypted: {FIX}")

    @validates("ca_file")
    def check_ca_file(self, ca_file: str, data_key: str) -> None:
        """Raise `ValidationError` if it names no file."""
        if ca_file and not Path(ca_file).is_file():
            raise ValidationError("no such file: give the path of a PEM file with the CA's certificate")


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
