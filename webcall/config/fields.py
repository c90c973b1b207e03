"""The kinds of settings, and what a good value of each is."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from marshmallow import ValidationError, fields

from webcall.origins import EXAMPLES, origin_pattern
from webcall.rates import OFF, Rate, parse_rate

NOT_A_SECTION = "not a section: settings with names are due here, one a line and indented"

_WHOLE = re.compile(r"[+-]?[0-9]+")
_HOST_AND_PORT = re.compile(r"([A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+(%\w+)?\]):(?P<port>[0-9]{1,5})", re.ASCII)


def filled(value: str) -> None:
    """Refuse text that is empty or white space."""
    if not value.strip():
        raise ValidationError("empty")


def unspaced(value: str) -> None:
    """Refuse text that is empty or begins or ends with white space."""
    filled(value)
    if value != value.strip():
        # It would be signed with, or compared, as it stands: a newline from a file breaks every call.
        raise ValidationError("begins or ends with white space: remove it")
    try:
        value.encode()
    except UnicodeEncodeError:
        # The environment gives bytes that are not UTF-8 as lone surrogates.
        raise ValidationError("not UTF-8 text") from None


class Names(fields.List[str]):
    """A list of names, each kept once; one comma-separated string is a list too."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(fields.String(validate=filled), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, str):
            value = [name for part in value.split(",") if (name := part.strip())]
        elif not isinstance(value, list):
            # A set, which marshmallow would take, has no order.
            raise self.make_error("invalid")
        names = super()._deserialize(value, attr, data, **kwargs)
        return tuple(dict.fromkeys(name.strip() for name in names if name is not None))


class Whole(fields.Integer):
    """A whole number, or text that is one: marshmallow would cut 1.5 off."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, float) or (isinstance(value, str) and not _WHOLE.fullmatch(value.strip())):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, attr, data, **kwargs)


class RateField(fields.Field[Rate | None]):
    """A rate such as `60/minute`, or `off`, which YAML reads as false."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Rate | None:
        try:
            return parse_rate(OFF if value is False else value if isinstance(value, str) else "")
        except ValueError as error:
            raise ValidationError(str(error)) from None


class Origins(Names):
    """Origins of web pages, `*` for all, or `off` for none, which YAML reads as false."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        origins = super()._deserialize(OFF if value is False else value, attr, data, **kwargs)
        if origins in ((OFF,), ("*",)):
            return () if origins == (OFF,) else origins
        if not origins or {"*", OFF} & {*origins}:
            raise ValidationError(f"neither `*` nor `off` alone nor origins such as {EXAMPLES}")
        try:
            return tuple(str(origin_pattern(one)) for one in origins)
        except ValueError as error:
            raise ValidationError(f"one of the origins {error}") from None


class Backends(fields.Field[dict[str, dict[str, Any]]]):
    """Settings by backend name; those of a backend may be null, as a section may."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ValidationError(NOT_A_SECTION)
        good: dict[str, dict[str, Any]] = {}
        faults: dict[Any, list[str]] = {}
        for name, settings in value.items():
            if settings is not None and not isinstance(settings, Mapping):
                faults[name] = [NOT_A_SECTION]
            else:
                good[str(name)] = dict(settings or {})
        if faults:
            raise ValidationError(cast(Any, faults), valid_data=cast(Any, good))
        return good


def address(value: str) -> None:
    """Refuse what is not an address of a LiveKit server."""
    try:
        parts = urlsplit(value)
        fine = parts.scheme in ("ws", "wss", "http", "https") and bool(parts.hostname)
        _ = parts.port
        # urlsplit passes over some white space and control characters, and an HTTP client does not.
        fine = fine and value.isprintable() and " " not in value
    except ValueError:
        fine = False
    if not fine:
        raise ValidationError("not an address such as wss://livekit.example.com or http://127.0.0.1:7880")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValidationError("only scheme, host, port and path belong in this address")


def called_address(value: str) -> None:
    """Refuse what is not an address of a LiveKit server that a request can carry as it stands."""
    address(value)
    if not value.isascii():
        # A request's head holds nothing else (RFC 9112, section 3; RFC 5891 for names).
        raise ValidationError(
            "holds more than ASCII: write the host in its ASCII form (punycode), such as "
            "xn--bcher-kva.example, and a path with percent signs, such as /caf%C3%A9"
        )


def optional_address(value: str) -> None:
    """Refuse what is neither empty nor an address of a LiveKit server."""
    if value:
        address(value)


def optional_unspaced(value: str) -> None:
    """Refuse text that begins or ends with white space; it may be empty."""
    if value:
        unspaced(value)


def optional_secret(value: str) -> None:
    """Refuse what is neither empty nor a secret that is long enough."""
    if value:
        secret(value)


def optional_web_address(value: str) -> None:
    """Refuse what is neither empty nor an address that begins with http:// or https://."""
    if value:
        try:
            address(value)
            fine = urlsplit(value).scheme in ("http", "https")
        except ValidationError:
            fine = False
        if not fine:
            raise ValidationError("not an address such as https://calls.example.com")


def optional_token(value: str) -> None:
    """Refuse what is neither empty nor a token that a header can carry (RFC 6750, section 2.1)."""
    if value and not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", value):
        raise ValidationError(
            "holds more than letters, digits and . _ ~ + / - =, which a bearer token is made of"
        )


def traces_endpoint(value: str) -> None:
    """Refuse what is no address for traces, or no address that can be used without the extra."""
    optional_web_address(value)
    if value and not _is_installed("opentelemetry.exporter.otlp.proto.http"):
        raise ValidationError(
            "needs OpenTelemetry: pip install '.[traces]' in the checkout, or leave it empty"
        )


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False  # nor is the package that it would be in


def storage(value: str) -> None:
    """Refuse what is no storage of limits: memory://, or a Redis with what it takes to speak to it."""
    try:
        parts = urlsplit(value)
        if parts.scheme == "memory":
            return
        # In lower case: the package takes no other.
        fine = value.startswith(("redis://", "rediss://")) and bool(parts.hostname)
        _ = parts.port
        fine = fine and re.fullmatch(r"(/[0-9]*)?", parts.path) is not None
    except ValueError:
        fine = False
    if not fine:
        raise ValidationError(
            "neither memory:// nor an address such as redis://127.0.0.1:6379/0 or rediss://…"
        )
    if not _is_installed("redis"):
        raise ValidationError(
            "needs the package redis: pip install '.[redis]' in the checkout, or take memory://"
        )
    from redis.connection import parse_url

    try:
        # Or each worker process would find it out, and end, and the service with it.
        parse_url(value)  # type: ignore[no-untyped-call]
    except ValueError:
        raise ValidationError("has an option behind its ? with a value that redis-py cannot read") from None


def secret(value: str) -> None:
    """Refuse a secret that is too short for HS256 (RFC 7518, section 3.2)."""
    unspaced(value)
    if len(value.encode()) < 32:
        raise ValidationError(
            "shorter than 32 bytes, too short to sign tokens with: take at least 32 random bytes, "
            "for example from `openssl rand -base64 32`, here and in LiveKit's own configuration"
        )


def bind(value: str) -> None:
    """Refuse what gunicorn could not listen on; several addresses have commas between them."""
    for one in value.split(","):
        host_and_port = _HOST_AND_PORT.fullmatch(one.strip())
        fine = int(host_and_port["port"]) <= 65535 if host_and_port else one.strip().startswith("unix:/")
        if not fine:
            raise ValidationError("neither host:port such as 127.0.0.1:8000 or [::1]:8000 nor unix:/path")


def one_address(value: str) -> None:
    """Refuse what is not one address with its port; a path of a socket is none."""
    found = _HOST_AND_PORT.fullmatch(value)
    if not found or int(found["port"]) > 65535:
        raise ValidationError("not host:port, such as 127.0.0.1:8084 or [::1]:8084")
