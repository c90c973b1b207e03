"""Examples for the OpenAPI document; tests hold them to its schemas and to the running service."""

from __future__ import annotations

from typing import Any

from webcall.http import errors
from webcall.http.envelope import envelope

REQUEST: dict[str, Any] = {
    "assistant_id": "550e8400-e29b-41d4-a716-446655440000",
    "metadata": {"customer": {"name": "Ada"}, "plan": "gold"},
    "text_only": False,
}

_SIGNED = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.c2lnbmF0dXJl"

TOKEN = envelope(
    "Token generated successfully",
    {
        "room_name": "550e8400-e29b-41d4-a716-446655440000_ab12cd34",
        "token": _SIGNED,
        "server_url": "wss://livekit.example.com",
        "expires_at": "2026-01-01T12:01:00Z",
    },
    success=True,
)

TOKEN_SOURCE_REQUEST: dict[str, Any] = {
    "room_config": {
        "agents": [
            {
                "agent_name": "550e8400-e29b-41d4-a716-446655440000",
                "metadata": '{"customer": {"name": "Ada"}, "plan": "gold"}',
            }
        ]
    },
    "participant_name": "Ada",
}

TOKEN_SOURCE: dict[str, Any] = {
    "server_url": "wss://livekit.example.com",
    "participant_token": _SIGNED,
    "room_name": "550e8400-e29b-41d4-a716-446655440000_ab12cd34",
    "participant_name": "Ada",
}

LISTING = envelope(
    "Assistants listed",
    {
        "assistants": [
            {
                "assistant_id": "550e8400-e29b-41d4-a716-446655440000",
                "assistant_name": "Reception",
                "assistant_description": "Answers callers and takes messages.",
                "assistant_mode": "pipeline",
            }
        ],
        "next": None,
    },
    success=True,
)

HEALTHY = envelope("Service is healthy and operational", success=True)
READY = envelope("Ready", {"degraded": []}, success=True)
NOT_READY = envelope("Not ready", {"down": ["livekit"], "degraded": []}, success=False)

RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds after which to try again.",
        "schema": {"type": "integer", "minimum": 1},
    }
}

_REQUEST_ID = "0f8fad5bd9cb469fa165708677289502"


def _failure(description: str, message: str, data: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"description": description, "example": envelope(message, data, success=False)}


FAILURES: dict[int, dict[str, Any]] = {
    400: _failure("A typed chat was asked of an assistant that has no text path.", errors.NO_TEXT),
    401: _failure("The API key is missing, malformed, unknown, revoked or expired.", errors.UNAUTHORIZED),
    403: _failure(
        "The API key is valid and may not be used from this Origin, or needs one and the request has none.",
        errors.FORBIDDEN,
    ),
    404: _failure(
        "No such assistant for this key: unknown, inactive, another owner's, or outside the key's list.",
        errors.NOT_FOUND,
    ),
    413: _failure("The body is larger than 64 KiB.", errors.HTTP_MESSAGES[413]),
    422: _failure(
        "The body is not valid.",
        errors.INVALID,
        {"errors": {"metdata": ["Unknown field; there are assistant_id, metadata and text_only."]}},
    ),
    429: _failure(
        "A limit is reached: of the key's rate or live calls, or of this address. See Retry-After.",
        "Too many requests. Try again later.",
    ),
    500: _failure(
        "LiveKit or a backend is down, or there is a defect.",
        errors.FAILED.format(id=_REQUEST_ID),
        {"request_id": _REQUEST_ID},
    ),
    503: _failure("More calls in flight than this worker takes. See Retry-After.", errors.BUSY),
}
FAILURES[401]["headers"] = {"WWW-Authenticate": {"schema": {"type": "string", "enum": ["Bearer"]}}}
for _status in (429, 503):
    FAILURES[_status]["headers"] = RETRY_AFTER

BAD_TOKEN_SOURCE = _failure(
    "The body is not valid.",
    errors.INVALID,
    {"errors": {"room_name": ["Leave it out: the service names its rooms."]}},
)

BAD_QUERY = _failure(
    "The query is not valid.",
    errors.INVALID,
    {"errors": {"limit": ["Not a whole number from 1 to 200."]}},
)
