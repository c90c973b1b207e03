"""`/web_call/token_source`: a call in the form that LiveKit's client SDKs ask for, `TokenSource.endpoint`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from webcall.core.calls import CallRequest
from webcall.errors import InvalidMetadata
from webcall.http import errors
from webcall.http.auth import authenticated, caller, services
from webcall.http.examples import BAD_TOKEN_SOURCE, FAILURES, TOKEN_SOURCE, TOKEN_SOURCE_REQUEST
from webcall.http.placing import HEADER_PARAMETER, place
from webcall.http.schemas import Failure
from webcall.http.token_source_schemas import TokenSourceAnswer, TokenSourceRequest
from webcall.http.web_call import CallBlueprint

METADATA = "room_config.agents.0.metadata"
AGENT_NAME = "room_config.agents.0.agent_name"

blueprint = CallBlueprint(
    "token_source", __name__, url_prefix="/web_call", description="For LiveKit's client SDKs."
)


@blueprint.post("/token_source")
@partial(authenticated, sandbox_id=True)
@blueprint.arguments(TokenSourceRequest(), example=TOKEN_SOURCE_REQUEST)
@blueprint.response(201, TokenSourceAnswer, description="Token generated.", example=TOKEN_SOURCE)
@blueprint.alt_response(401, schema=Failure, **FAILURES[401])
@blueprint.alt_response(403, schema=Failure, **FAILURES[403])
@blueprint.alt_response(404, schema=Failure, **FAILURES[404])
@blueprint.alt_response(413, schema=Failure, **FAILURES[413])
@blueprint.alt_response(422, schema=Failure, **BAD_TOKEN_SOURCE)
@blueprint.alt_response(429, schema=Failure, **FAILURES[429])
@blueprint.alt_response(500, schema=Failure, **FAILURES[500])
@blueprint.alt_response(503, schema=Failure, **FAILURES[503])
@blueprint.doc(
    security=[{"api_key": []}, {"sandbox_id": []}],
    operationId="token_source",
    parameters=[HEADER_PARAMETER],
)
def token_source(call: CallRequest) -> Any:
    """Start a call from a LiveKit SDK

    The address for `TokenSource.endpoint` of LiveKit's client SDKs (`useSession` in React, Swift, Kotlin,
    Flutter, React Native), unmodified: the agent's name is the assistant's id. The token lives no longer
    than a minute, since these SDKs use it again until a minute before its end. A call without a microphone
    (`text_only`) cannot be asked for here. A publishable key may come in the header `X-Sandbox-Id` where
    there is no `Authorization`, as LiveKit's starter apps send it.
    """
    if not call.assistant_id:
        found = _assistants_of_key()
        if len(found) != 1:
            some = "several assistants" if found else "no assistant that can be listed"
            told = f"Missing, and this API key has {some}: name one in room_config.agents[0].agent_name."
            return errors.invalid({AGENT_NAME: [told]})
        call = replace(call, assistant_id=found[0])
    try:
        placed = place(call)
    except InvalidMetadata as error:
        return errors.invalid({METADATA: [str(error)]})
    return {
        "server_url": placed.server_url,
        "participant_token": placed.token,
        "room_name": placed.room_name,
        "participant_name": call.participant.name,
    }


def _assistants_of_key() -> list[str]:
    """Return the ids of the assistants that the key may call, of many the first two or more."""
    who = caller()
    if who.allowed_assistants is not None:
        return sorted(who.allowed_assistants)
    found: list[str] = []
    after: str | None = ""
    while after is not None and len(found) < 2:
        page = services().listing.page(who, after, 2)
        found += [assistant.id for assistant in page.assistants]
        after = page.next
    return found
