"""Request bodies: strict JSON, and nothing else, or a 422 that says what to fix."""

from __future__ import annotations

import codecs
import io
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from flask import Request, Response, abort
from marshmallow import Schema, ValidationError
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import RequestEntityTooLarge

from webcall.http.errors import invalid
from webcall.http.requests import without_keys
from webcall.strict import Repeated, distinct

# Larger than any good request: 16 KiB of metadata, an id, and white space.
MAX_BODY_BYTES = 64 * 1024
JSON = "application/json"


class NotJSON(ValueError):
    """The text is not JSON as RFC 8259 and this service's contract have it."""


def parse_strict(body: bytes) -> Any:
    """Return the value that `body` holds. Raises `NotJSON`, whose text quotes nothing of the body.

    Python's own json takes NaN, numbers without end, duplicate names and lone surrogates as well.
    """
    if body.startswith(codecs.BOM_UTF8):
        raise NotJSON("Begins with a byte order mark: send it without one.")
    try:
        value = _decode(body.decode("utf-8"))
        if b"\\u" in body:
            # Without an escape no half of a surrogate pair is UTF-8.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except NotJSON:
        raise
    except Repeated:
        raise NotJSON("A name stands twice in one object.") from None
    except UnicodeDecodeError:
        raise NotJSON("Not UTF-8.") from None
    except UnicodeEncodeError:
        raise NotJSON("Holds a lone surrogate, which is no Unicode text.") from None
    except RecursionError:
        raise NotJSON("Nested too deep.") from None
    except json.JSONDecodeError as error:
        raise NotJSON(f"Not JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from None
    return value


def _refuse_constant(_: str) -> NoReturn:
    raise NotJSON("NaN and Infinity are not JSON.")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotJSON("A number is too large.")
    return number


def _finite_int(text: str) -> int:
    # A whole number past a double's range would be read as infinity by most of JSON's readers.
    try:
        number = int(text)
        float(number)
    except (ValueError, OverflowError):
        raise NotJSON("A number is too large.") from None
    return number


# Made once: json.loads makes a decoder each time for what is not its default.
_decode = json.JSONDecoder(
    object_pairs_hook=distinct, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_finite_int
).decode


class StrictParser(FlaskParser):
    """webargs' parser for Flask with strict JSON, unknown fields refused and faults in the envelope."""

    DEFAULT_VALIDATION_STATUS = 422
    DEFAULT_UNKNOWN_BY_LOCATION = {"json": None}  # noqa: RUF012  # a class setting of webargs

    def load_json(self, req: Request, schema: Any) -> Any:
        """Return the body's value; answer 422 if it is not a JSON object."""
        # Werkzeug takes the header apart, which for nearly all is not needed.
        if req.environ.get("CONTENT_TYPE") != JSON and req.mimetype != JSON:
            _stop({"Content-Type": ["Send the body as application/json."]})
        body = _read(req)
        if len(body) > MAX_BODY_BYTES:
            abort(413)
        try:
            value = parse_strict(body)
        except NotJSON as error:
            if req.headers.get("Content-Encoding", "identity").lower() != "identity":
                _stop({"Content-Encoding": ["Send the body as it is, not compressed."]})
            _stop({"body": [str(error)]})
        if not isinstance(value, dict):
            _stop({"body": ["Not a JSON object."]})
        return value

    def load_body(self, req: Request, schema: Schema) -> Any:
        """Return what the schema makes of the body; answer 422 if it is not what the schema wants."""
        try:
            return schema.load(self.load_json(req, schema))
        except ValidationError as error:
            _stop(dict(by_path(error.messages_dict)))

    def handle_error(self, error: ValidationError, *_: Any, **__: Any) -> NoReturn:
        """Answer 422 with marshmallow's messages by field."""
        messages = error.messages_dict
        _stop(dict(by_path(messages.get("json", messages))))


def by_path(messages: Any, path: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield marshmallow's nested messages by the path of their field, such as `room_config.agents.0`."""
    if not isinstance(messages, Mapping):
        yield path, messages
        return
    for name, told in messages.items():
        inner = path if name == "_schema" and path else f"{path}.{name}" if path else str(name)
        yield from by_path(told, inner)


def _read(req: Request) -> bytes:
    """Return the body. One that is malformed, or that broke off, is the sender's fault: 422."""
    source = req.environ["wsgi.input"]
    if type(source) is io.BytesIO and req.environ.get("wsgi.input_terminated"):
        # The worker has read it already, whole (webcall.serving.plain_requests).
        return source.read()
    try:
        body = req.get_data(cache=False)
    except RequestEntityTooLarge:
        raise
    except Exception:
        # The server's own errors of chunked bodies, of sizes and of connections that ended.
        _stop({"body": ["It broke off, or is not well formed: send it again, whole."]})
    if req.content_length is not None and len(body) < req.content_length:
        _stop({"body": ["It is shorter than its Content-Length: send it again, whole."]})
    return body


def _stop(faults: dict[str, Any]) -> NoReturn:
    response: Response = invalid({without_keys(str(name)): told for name, told in faults.items()})
    abort(response)
