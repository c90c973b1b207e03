"""The bodies of `POST /web_call/token_source`: every field of LiveKit's own schema, taken or refused.

The schema is `livekit.TokenSourceRequest` with `RoomConfiguration` and `RoomAgentDispatch`, as in
https://github.com/livekit/protocol (livekit_token_source.proto, livekit_room.proto,
livekit_agent_dispatch.proto), in the JSON with snake_case that LiveKit's client SDKs send.
"""

from __future__ import annotations

from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, post_load, validates_schema

from webcall.core.calls import CallRequest
from webcall.core.limits import MAX_ID_CHARACTERS, check_metadata
from webcall.core.tokens import Participant
from webcall.errors import InvalidMetadata
from webcall.http.body import NotJSON, parse_strict
from webcall.http.schemas import id_fits

LONGEST_JOIN_S = 60
"""LiveKit's SDKs use a token again until a minute before it ends; by then its room may be gone."""

MAX_PARTICIPANT_BYTES = 4 * 1024
# LiveKit's own limit (livekit-server `limit.max_participant_name_length`).
MAX_NAME_BYTES = 256
RESERVED = "lk."

NO_OBJECT = "Not a JSON object."
OWN_ROOM = "Leave it out: the service sets its rooms up by its own settings."


class Text(fields.String):
    """A string; null is as good as none, since some SDKs send it for what is not set."""

    default_error_messages = {"invalid": "Not a string."}  # noqa: RUF012  # marshmallow's form

    def __init__(self, **more: Any) -> None:
        super().__init__(load_default=None, allow_none=True, **more)


class Attributes(fields.Field[dict[str, str]]):
    """An object of strings, none under a name of LiveKit's own."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, str]:
        if not isinstance(value, dict) or any(not isinstance(item, str) for item in value.values()):
            raise ValidationError("Not an object whose values are strings.")
        if any(name.startswith(RESERVED) for name in value):
            raise ValidationError(f"Names that begin with {RESERVED} are LiveKit's own: use others.")
        return value


class Refused(fields.Field[None]):
    """A field of LiveKit's schema that is not taken. What says nothing passes: null, "", 0, false or {}."""

    _NOTHING: ClassVar[dict[str, Any]] = {"string": "", "integer": 0, "boolean": False, "object": {}}

    def __init__(self, why: str, kind: str, *also: str) -> None:
        """Take the JSON type of the field, and `also` the names of what says nothing, too."""
        self._why = why
        self._pass = [self._NOTHING[kind], *also]
        told = {"description": f"Refused. {why}", "type": kind, "nullable": True, "enum": [*self._pass, None]}
        super().__init__(load_default=None, allow_none=True, metadata=told)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> None:
        # In Python false is 0, too.
        if not any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in self._pass):
            raise ValidationError(self._why)


def _name_fits(value: str) -> None:
    if len(value.encode()) > MAX_NAME_BYTES:
        raise ValidationError(f"More than {MAX_NAME_BYTES} bytes of UTF-8, LiveKit's limit.")


def _agent_fits(value: str) -> None:
    if value.strip():
        id_fits(value.strip())


def _parsed(metadata: str | None) -> dict[str, Any]:
    if not metadata:
        return {}
    try:
        found = parse_strict(metadata.encode())
    except NotJSON as error:
        raise ValidationError(f"Not a JSON object as a string. {error}") from None
    if not isinstance(found, dict):
        raise ValidationError('Not a JSON object as a string, such as "{\\"plan\\": \\"gold\\"}".')
    try:
        check_metadata(found)
    except InvalidMetadata as error:
        raise ValidationError(str(error)) from None
    return found


def _metadata_fits(value: str) -> None:
    _parsed(value)


class AgentDispatch(Schema):
    """The assistant (`livekit.RoomAgentDispatch`)."""

    error_messages = {  # noqa: RUF012
        "unknown": "Unknown field; there are agent_name and metadata.",
        "type": NO_OBJECT,
    }

    agent_name = Text(
        validate=_agent_fits,
        metadata={
            "description": "The id of the assistant to run in the room. Without one, the API key's only "
            "assistant is meant.",
            "maxLength": MAX_ID_CHARACTERS,
        },
    )
    metadata = Text(
        validate=_metadata_fits,
        metadata={
            "format": "json-object",
            "description": "Key-value data put into the assistant's placeholders: a JSON object as a string. "
            "At most 16 KiB as compact UTF-8 JSON, at most 16 levels deep.",
        },
    )
    restart_policy = Refused("Leave it out: it is for LiveKit Cloud only.", "string", "JRP_ON_FAILURE")
    deployment = Refused("Leave it out: it is for LiveKit Cloud only.", "string")
    attributes = Refused("Leave it out: the service sets its agents up itself.", "object")


def _at_most_one(agents: list[Any]) -> None:
    if len(agents) > 1:
        raise ValidationError("A call has one assistant: name one agent.")


class RoomConfiguration(Schema):
    """Which assistant (`livekit.RoomConfiguration`); the room itself is the service's."""

    error_messages = {  # noqa: RUF012
        "unknown": "Unknown field; of room_config, agents is taken.",
        "type": NO_OBJECT,
    }

    agents = fields.List(
        fields.Nested(AgentDispatch, error_messages={"null": NO_OBJECT}),
        load_default=None,
        allow_none=True,
        validate=_at_most_one,
        error_messages={"invalid": "Not a list."},
        metadata={"description": "One agent at most: the assistant.", "maxItems": 1},
    )
    name = Refused("Leave it out: the service names its rooms.", "string")
    empty_timeout = Refused(OWN_ROOM, "integer")
    departure_timeout = Refused(OWN_ROOM, "integer")
    max_participants = Refused(OWN_ROOM, "integer")
    metadata = Refused(OWN_ROOM, "string")
    egress = Refused("Leave it out: a caller cannot have calls recorded.", "object")
    min_playout_delay = Refused(OWN_ROOM, "integer")
    max_playout_delay = Refused(OWN_ROOM, "integer")
    sync_streams = Refused(OWN_ROOM, "boolean")
    tags = Refused(OWN_ROOM, "object")


class TokenSourceRequest(Schema):
    """What `TokenSource.endpoint` sends (`livekit.TokenSourceRequest`). Unknown fields are refused."""

    error_messages = {  # noqa: RUF012
        "unknown": "Unknown field; there are participant_name, participant_metadata, "
        "participant_attributes and room_config."
    }

    participant_name = Text(
        validate=_name_fits,
        metadata={
            "description": "What the person is called in the room. At most 256 bytes of UTF-8.",
            "maxLength": MAX_NAME_BYTES,
        },
    )
    participant_metadata = Text(
        metadata={
            "description": "Goes into the token for everybody in the room to see; assistants get nothing of "
            "it. With name and attributes at most 4 KiB of UTF-8."
        }
    )
    participant_attributes = Attributes(
        load_default=None,
        allow_none=True,
        metadata={
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "As the metadata, by name. No name may begin with `lk.`.",
        },
    )
    room_config = fields.Nested(
        RoomConfiguration,
        load_default=None,
        allow_none=True,
        metadata={"description": "Names the assistant, by the one agent in it."},
    )
    room_name = Refused("Leave it out: the service names its rooms.", "string")
    participant_identity = Refused("Leave it out: the service gives identities, to be unique.", "string")

    @validates_schema
    def _small_together(self, data: dict[str, Any], **_: Any) -> None:
        size = {
            "participant_attributes": sum(
                len(name.encode()) + len(value.encode())
                for name, value in (data["participant_attributes"] or {}).items()
            ),
            "participant_metadata": len((data["participant_metadata"] or "").encode()),
            "participant_name": len((data["participant_name"] or "").encode()),
        }
        if sum(size.values()) > MAX_PARTICIPANT_BYTES:
            raise ValidationError(
                f"{sum(size.values())} bytes of participant_name, participant_metadata and "
                f"participant_attributes; at most {MAX_PARTICIPANT_BYTES} are taken together.",
                max(size, key=lambda name: size[name]),
            )

    @post_load(pass_original=True)
    def _make(self, data: dict[str, Any], original: dict[str, Any], **_: Any) -> CallRequest:
        agents = (data["room_config"] or {}).get("agents") or [{}]
        return CallRequest(
            assistant_id=(agents[0].get("agent_name") or "").strip(),
            metadata=_parsed(agents[0].get("metadata")),
            body=original,
            participant=Participant(
                data["participant_name"] or "",
                data["participant_metadata"] or "",
                data["participant_attributes"] or {},
            ),
            longest_join_s=LONGEST_JOIN_S,
        )


class TokenSourceAnswer(Schema):
    """What `TokenSource.endpoint` expects (`livekit.TokenSourceResponse`), and two names; no envelope."""

    server_url = fields.String(
        required=True, metadata={"description": "The LiveKit address to connect to, ws:// or wss://."}
    )
    participant_token = fields.String(
        required=True, metadata={"description": "Joins this one room, within a minute; a secret."}
    )
    room_name = fields.String(required=True, metadata={"description": "The room that was created."})
    participant_name = fields.String(
        required=True, metadata={"description": "As in the request; empty if it had none."}
    )
