"""`POST /web_call/get_token`: the one request that starts a call."""

from __future__ import annotations

from typing import Any

from flask import request
from flask_smorest import Blueprint

from webcall.core.calls import CallRequest
from webcall.http import errors
from webcall.http.auth import authenticated, caller, services
from webcall.http.body import StrictParser
from webcall.http.envelope import envelope
from webcall.http.examples import FAILURES, REQUEST, TOKEN
from webcall.http.requests import note
from webcall.http.schemas import Failure, TokenAnswer, TokenRequest


class CallBlueprint(Blueprint):  # type: ignore[misc]  # flask-smorest has no types
    """A blueprint that reads bodies as strict JSON."""

    ARGUMENTS_PARSER = StrictParser()


blueprint = CallBlueprint("web_call", __name__, url_prefix="/web_call", description="Start a call.")


@blueprint.post("/get_token")
@authenticated
@blueprint.arguments(TokenRequest(), example=REQUEST)
@blueprint.response(200, TokenAnswer, description="Token generated.", example=TOKEN)
@blueprint.alt_response(400, schema=Failure, **FAILURES[400])
@blueprint.alt_response(401, schema=Failure, **FAILURES[401])
@blueprint.alt_response(404, schema=Failure, **FAILURES[404])
@blueprint.alt_response(413, schema=Failure, **FAILURES[413])
@blueprint.alt_response(422, schema=Failure, **FAILURES[422])
@blueprint.alt_response(500, schema=Failure, **FAILURES[500])
@blueprint.alt_response(503, schema=Failure, **FAILURES[503])
@blueprint.doc(security=[{"api_key": []}], operationId="get_token")
def get_token(call: CallRequest) -> Any:
    """Start a call

    Create a LiveKit room, send the assistant into it, and return a participant token for a browser
    or mobile web call.
    """
    if "Idempotency-Key" in request.headers:
        # Taking it without effect would let a repeat send a second assistant.
        return errors.invalid({"Idempotency-Key": ["Not supported yet: send the request without it."]})
    note(assistant_id=call.assistant_id)
    placed = services().calls.place(caller(), call)
    note(room=placed.room_name)
    return envelope(
        "Token generated successfully",
        {
            "room_name": placed.room_name,
            "token": placed.token,
            "server_url": placed.server_url,
            "expires_at": placed.expires_at.isoformat().replace("+00:00", "Z"),
        },
        success=True,
    )
