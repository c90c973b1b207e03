"""The fields of stored records that the service reads, and what they may hold."""

from __future__ import annotations

from marshmallow import EXCLUDE, Schema, fields, validate

from webcall.record_fields import Moment, Text

DEFAULT_MODE = "pipeline"
_FILLED = validate.Length(min=1, error="empty")


class KeySchema(Schema):
    """The fields of a key's record that the service reads."""

    class Meta:
        unknown = EXCLUDE

    api_key_hash = Text(
        load_default=None,
        allow_none=True,
        validate=validate.Regexp(r"[0-9a-f]{64}\Z", error="not 64 lower-case hex digits"),
    )
    api_key = Text(load_default=None, allow_none=True)
    api_key_prefix = Text(load_default=None, allow_none=True)
    user_email = Text(required=True, validate=_FILLED)
    user_name = Text(load_default=None, allow_none=True)
    org_name = Text(load_default=None, allow_none=True)
    is_active = fields.Boolean(load_default=True)
    expires_at = Moment(load_default=None, allow_none=True)
    allowed_assistants = fields.List(Text(), load_default=None, allow_none=True)
    allowed_origins = fields.List(Text(), load_default=None, allow_none=True)
    allowed_metadata = fields.List(Text(), load_default=None, allow_none=True)
    rate_limit = Text(load_default=None, allow_none=True)
    max_concurrent_calls = fields.Integer(
        load_default=None,
        allow_none=True,
        strict=True,
        validate=validate.Range(min=0, error="below 0"),
    )
    native = fields.Boolean(load_default=False, allow_none=True)


class AssistantSchema(Schema):
    """The fields of an assistant's record that the service reads."""

    class Meta:
        unknown = EXCLUDE

    assistant_id = Text(required=True, validate=_FILLED)
    assistant_created_by_email = Text(required=True, validate=_FILLED)
    assistant_mode = Text(load_default=DEFAULT_MODE, allow_none=True)
    assistant_prompt = Text(load_default="", allow_none=True)
    assistant_start_instruction = Text(load_default="", allow_none=True)
    assistant_placeholder_defaults = fields.Dict(keys=Text(), load_default=dict, allow_none=True)
    agent_name = Text(load_default=None, allow_none=True)
    assistant_is_active = fields.Boolean(load_default=True)
