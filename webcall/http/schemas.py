"""The bodies of requests and answers, as marshmallow reads and OpenAPI shows them."""

from __future__ import annotations

import re
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load

from webcall.core.calls import CallRequest
from webcall.core.limits import MAX_ID_BYTES, MAX_ID_CHARACTERS, assistant_id_fits, check_metadata
from webcall.errors import InvalidMetadata

MAX_PAGE = 200


class Boolean(fields.Field[bool]):
    """true or false, and nothing that only looks like one: `"false"` and 0 are mistakes."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("Not true or false.")
        return value


class Trimmed(fields.String):
    """A string without the white space around it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        return str(super()._deserialize(value, attr, data, **kwargs)).strip()


class JSONObject(fields.Dict):
    """An object of a JSON body, as it came: its names are text already."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise self.make_error("invalid")
        return value


def id_fits(value: str) -> None:
    """Raise `ValidationError` unless `value` can be an assistant's id."""
    if not assistant_id_fits(value):
        raise ValidationError(
            f"Not 1 to {MAX_ID_CHARACTERS} characters (at most {MAX_ID_BYTES} bytes of UTF-8)."
        )


def _metadata_fits(value: dict[str, Any]) -> None:
    try:
        check_metadata(value)
    except InvalidMetadata as error:
        raise ValidationError(str(error)) from None


class TokenRequest(Schema):
    """The body of `POST /web_call/get_token`. Unknown fields are refused."""

    error_messages = {"unknown": "Unknown field; there are assistant_id, metadata and text_only."}  # noqa: RUF012

    assistant_id = Trimmed(
        required=True,
        validate=id_fits,
        error_messages={"required": "Missing.", "null": "Missing.", "invalid": "Not a string."},
        metadata={
            "description": "The assistant to run in the room. Trimmed; at most 240 bytes of UTF-8.",
            "minLength": 1,
            "maxLength": MAX_ID_CHARACTERS,
        },
    )
    metadata = JSONObject(
        keys=fields.String(),
        load_default=None,
        allow_none=True,
        validate=_metadata_fits,
        error_messages={"invalid": "Not a JSON object."},
        metadata={
            "description": "Key-value data put into the assistant's placeholders. "
            "At most 16 KiB as compact UTF-8 JSON, at most 16 levels deep.",
        },
    )
    text_only = Boolean(
        load_default=False,
        error_messages={"null": "Not true or false."},
        metadata={
            "type": "boolean",
            "description": "A typed chat without audio: the token cannot publish a microphone, the assistant "
            "runs without speech-to-text and text-to-speech.",
        },
    )

    def load(self, data: Any, **kwargs: Any) -> CallRequest:
        """Return the call that a body asks for. Raises `ValidationError` with the faults of all fields.

        What a plainly good body asks for is taken as it is: marshmallow, which takes ten times as long, is
        for what may be wrong.
        """
        call = _asked_by(data) if isinstance(data, dict) and not kwargs else None
        return call or super().load(data, **kwargs)

    @post_load(pass_original=True)
    def _make(self, data: dict[str, Any], original: dict[str, Any], **_: Any) -> CallRequest:
        return CallRequest(data["assistant_id"], data["metadata"] or {}, data["text_only"], body=original)


def _asked_by(body: dict[str, Any]) -> CallRequest | None:
    """Return the call that a plainly good body asks for; None for any other."""
    assistant_id, metadata = body.get("assistant_id"), body.get("metadata")
    text_only = body.get("text_only", False)
    if not (isinstance(assistant_id, str) and isinstance(text_only, bool) and body.keys() <= _TOKEN_REQUEST):
        return None
    if metadata is None:
        metadata = {}
    assistant_id = assistant_id.strip()
    if not (isinstance(metadata, dict) and assistant_id_fits(assistant_id)):
        return None
    try:
        check_metadata(metadata)
    except InvalidMetadata:
        return None
    return CallRequest(assistant_id, metadata, text_only, body=body)


_TOKEN_REQUEST = TokenRequest().load_fields.keys()


class Count(fields.Field[int]):
    """A whole number in a query, in plain digits."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", str(value)) or not 1 <= int(value) <= MAX_PAGE:
            raise ValidationError(f"Not a whole number from 1 to {MAX_PAGE}.")
        return int(value)


class ListingQuery(Schema):
    """The query of `GET /web_call/assistants`. Unknown arguments are refused."""

    error_messages = {"unknown": "Unknown argument; there are limit and after."}  # noqa: RUF012

    limit = Count(
        load_default=50,
        metadata={
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_PAGE,
            "description": "How many assistants at most.",
        },
    )
    after = fields.String(
        validate=id_fits,
        metadata={
            "description": "List ids greater than this one: `data.next` of the page before.",
            "minLength": 1,
            "maxLength": MAX_ID_CHARACTERS,
        },
    )


class ListedAssistant(Schema):
    """An assistant as a caller sees it."""

    assistant_id = fields.String(required=True, metadata={"description": "What a call names."})
    assistant_name = fields.String(required=True, metadata={"description": "Empty if it has none."})
    assistant_description = fields.String(required=True, metadata={"description": "Empty if it has none."})
    assistant_mode = fields.String(
        required=True, metadata={"description": "`pipeline`, `cascade` or `realtime`; the last has no text."}
    )


class ListingData(Schema):
    """A page of assistants, sorted by id."""

    assistants = fields.List(fields.Nested(ListedAssistant), required=True)
    next = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "The `after` of the next page; null on the last. A page may hold fewer than "
            "`limit` and yet have a next one."
        },
    )


class TokenData(Schema):
    """What a browser needs to join."""

    room_name = fields.String(required=True, metadata={"description": "The room that was created."})
    token = fields.String(required=True, metadata={"description": "Joins this one room; a secret."})
    server_url = fields.String(
        required=True, metadata={"description": "The LiveKit address to connect to, ws:// or wss://."}
    )
    expires_at = fields.String(
        required=True,
        metadata={"format": "date-time", "description": "The last moment to join (RFC 3339, UTC)."},
    )


class Empty(Schema):
    """No data."""


class ReadyData(Schema):
    """Names of backends, and nothing of what is wrong with them."""

    down = fields.List(fields.String(), metadata={"description": "Who does not answer."})
    degraded = fields.List(fields.String(), metadata={"description": "Who can be done without for now."})


class FailureData(Schema):
    """Beside an error's message."""

    errors = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        metadata={"description": "Faults by field, beside 422."},
    )
    request_id = fields.String(metadata={"description": "What to tell support, beside 500."})


def _body(data: type[Schema], success: bool) -> dict[str, Any]:
    return {
        "success": fields.Boolean(required=True, metadata={"enum": [success]}),
        "message": fields.String(required=True),
        "data": fields.Nested(data, required=True),
    }


ListingAnswer = Schema.from_dict(_body(ListingData, True), name="ListingAnswer")
TokenAnswer = Schema.from_dict(_body(TokenData, True), name="TokenAnswer")
HealthAnswer = Schema.from_dict(_body(Empty, True), name="HealthAnswer")
ReadyAnswer = Schema.from_dict(_body(ReadyData, True), name="ReadyAnswer")
NotReadyAnswer = Schema.from_dict(_body(ReadyData, False), name="NotReadyAnswer")
Failure = Schema.from_dict(_body(FailureData, False), name="Failure")
