"""Tell observers what became of requests for a call, when the answer's content is settled."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Flask, Response

from webcall.core.calls import CallRequest, PlacedCall
from webcall.http import current
from webcall.http.auth import services
from webcall.http.requests import request_id
from webcall.interfaces import Caller
from webcall.observed import CreatedCall, RefusedCall

_ROUTES = ("/web_call/get_token", "/web_call/token_source")
_REASONS = {
    400: "text_only",
    401: "unauthorized",
    403: "origin",
    404: "unknown_assistant",
    413: "too_large",
    422: "invalid",
    429: "rate",
    503: "busy",
}
ALL_REASONS = (*_REASONS.values(), "calls", "failed")


def init_app(app: Flask) -> None:
    """Look at every answer."""
    app.after_request(_tell)


def remember(call: CallRequest, placed: PlacedCall) -> None:
    """Keep what the request that is being answered asked for and got."""
    current.kept().placed = (call, placed)


def reason_of(response: Response) -> str:
    """Return why a request got no call, in the words of `webcall.hookspecs`."""
    return current.kept().get("refused_because") or _REASONS.get(response.status_code, "failed")


def _tell(response: Response) -> Response:
    observers = services().observers
    if not observers.there:
        return response
    request, kept = current.request(), current.kept()
    rule = request.url_rule.rule if request.url_rule else None
    if rule in _ROUTES and request.method == "POST":
        caller: Caller | None = kept.get("caller")
        call, placed = kept.get("placed", (None, None))
        if response.status_code < 300 and caller is not None and placed is not None:
            observers.created(
                CreatedCall(
                    room_name=placed.room_name,
                    assistant_id=call.assistant_id,
                    owner=caller.email,
                    key_id=caller.key_id,
                    text_only=call.text_only,
                    repeated=placed.repeated,
                    request_id=request_id(),
                    at=datetime.now(UTC),
                )
            )
        else:
            observers.refused(
                RefusedCall(
                    reason=reason_of(response),
                    status=response.status_code,
                    owner=caller.email if caller else None,
                    key_id=caller.key_id if caller else None,
                    assistant_id=kept.get("asked_for"),
                    request_id=request_id(),
                    at=datetime.now(UTC),
                )
            )
    return response
