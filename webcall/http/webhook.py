"""`POST /livekit/webhook`: LiveKit's signed events about rooms. For LiveKit alone: not in the document.

It takes no place of the gate: an event is quick, and ends calls while the gate is full of waiting ones.
"""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from webcall.errors import BackendError, Unauthorized
from webcall.http.auth import services
from webcall.http.envelope import envelope, failure

UNSIGNED = "The signature is missing or not valid. This address is for LiveKit's events."
AGAIN = "The event could not be followed. Send it again."

blueprint = Blueprint("webhook", __name__)


@blueprint.post("/livekit/webhook")
def livekit_webhook() -> Response:
    """Take an event: 200 for one that is followed or ignored, 401 for what LiveKit has not signed.

    503 makes LiveKit send the event again.
    """
    # LiveKit sends its token alone, without a scheme.
    events, signature = services().room_events, request.headers.get("Authorization", "")
    try:
        # Before the body is read, as with keys: a stranger who sends it slowly holds no thread.
        events.check(signature)
        events.receive(_body(), signature)
    except Unauthorized:
        return failure(401, UNSIGNED, headers={"WWW-Authenticate": "Bearer"})
    except BackendError:
        return failure(503, AGAIN, headers={"Retry-After": "1"})
    return jsonify(envelope("Event taken", success=True))


def _body() -> bytes:
    try:
        return request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise
    except Exception:
        # A body that broke off: the server's own errors, of several classes.
        raise Unauthorized from None
