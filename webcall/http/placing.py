"""What both ways to ask for a call share: the request's header Idempotency-Key, its log, its observers."""

from __future__ import annotations

from typing import Any

from webcall import request_log
from webcall.core.calls import CallRequest, PlacedCall, Visit
from webcall.core.idempotency import LONGEST_HEADER, check_header
from webcall.errors import IdempotencyConflict
from webcall.http import current, observing
from webcall.http.addresses import client_address
from webcall.http.auth import caller, services
from webcall.http.requests import note, without_keys

HEADER = "Idempotency-Key"

HEADER_PARAMETER: dict[str, Any] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "A request repeated with the same value, API key and body returns the same room and "
    "identity for as long as the room lives, and sends no second assistant. With another body it is a 422, "
    "with another assistant another call. With a publishable key it must be a UUID.",
    # What every client can send; more is taken, as UTF-8.
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": LONGEST_HEADER,
        "pattern": "^[!-~]([ -~]*[!-~])?$",
    },
}


def place(call: CallRequest) -> PlacedCall:
    """Place the call that a request of an authenticated caller asks for. Raises as `Calls.place` does."""
    # Observers hand it on, too: what looks like a key is blotted out, as in the log.
    asked_for = current.kept().asked_for = without_keys(call.assistant_id)
    request_log.add(assistant_id=asked_for)
    visit = Visit(client_address(), _idempotency_key())
    placed = services().calls.place(caller(), call, visit)
    note(room=placed.room_name)
    observing.remember(call, placed)
    return placed


def _idempotency_key() -> str | None:
    """Return the header, checked; None if there is none. Raises `IdempotencyConflict`."""
    sent = current.header(HEADER)
    if sent is None:
        return None
    try:
        # WSGI gives headers as latin-1.
        header = sent.encode("latin-1").decode("utf-8").strip(" \t")
    except UnicodeError:
        raise IdempotencyConflict("Not UTF-8.") from None
    check_header(header, uuid_only=caller().publishable)
    return header
