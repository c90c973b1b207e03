"""`/web_call/get_token`, the one request that starts a call, and what there is to call."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from flask_smorest import Blueprint
from marshmallow import Schema

from webcall.core.calls import CallRequest
from webcall.http import current
from webcall.http.auth import authenticated, caller, services
from webcall.http.envelope import envelope, success
from webcall.http.examples import BAD_QUERY, FAILURES, LISTING, REQUEST, TOKEN
from webcall.http.placing import HEADER_PARAMETER, place
from webcall.http.query import QueryParser
from webcall.http.schemas import Failure, ListingAnswer, ListingQuery, TokenAnswer, TokenRequest
from webcall.interfaces import Assistant

View = TypeVar("View", bound=Callable[..., Any])


class CallBlueprint(Blueprint):  # type: ignore[misc]  # flask-smorest has no types
    """A blueprint that reads bodies as strict JSON, and queries as strictly."""

    ARGUMENTS_PARSER = QueryParser()

    def alt_response(self, *args: Any, **kwargs: Any) -> Callable[[View], View]:
        """Document an answer that the view gives whole, as flask-smorest does."""
        return _only_documented(super().alt_response(*args, **kwargs))

    def doc(self, **kwargs: Any) -> Callable[[View], View]:
        """Add to what is documented of a view, as flask-smorest does."""
        return _only_documented(super().doc(**kwargs))

    def arguments(self, schema: Schema, *, location: str = "json", **kwargs: Any) -> Callable[[View], View]:
        """Give the view what the request's body or query holds, as flask-smorest does.

        A body goes straight to its schema: webargs' way there is as long as the schema's own work.
        """
        document: Callable[[View], View] = super().arguments(schema, location=location, **kwargs)
        if location != "json":
            return document

        def decorator(view: View) -> View:
            @wraps(view)
            def wrapper(*args: Any, **named: Any) -> Any:
                return view(*args, self.ARGUMENTS_PARSER.load_body(current.request(), schema), **named)

            wrapper._apidoc = document(view)._apidoc  # type: ignore[attr-defined]  # where it looks
            return cast(View, wrapper)

        return decorator


def _only_documented(document: Callable[[View], View]) -> Callable[[View], View]:
    """Let one of flask-smorest's decorators document a view, and leave the view as it is.

    flask-smorest wraps it for each of them, in a function that only calls on: of ten, a request felt it.
    """

    def decorator(view: View) -> View:
        view._apidoc = document(view)._apidoc  # type: ignore[attr-defined]  # where flask-smorest looks
        return view

    return decorator


blueprint = CallBlueprint("web_call", __name__, url_prefix="/web_call", description="Start a call.")


@blueprint.post("/get_token")
@authenticated
@blueprint.arguments(TokenRequest(), example=REQUEST)
@blueprint.alt_response(200, schema=TokenAnswer, description="Token generated.", example=TOKEN)
@blueprint.alt_response(400, schema=Failure, **FAILURES[400])
@blueprint.alt_response(401, schema=Failure, **FAILURES[401])
@blueprint.alt_response(403, schema=Failure, **FAILURES[403])
@blueprint.alt_response(404, schema=Failure, **FAILURES[404])
@blueprint.alt_response(413, schema=Failure, **FAILURES[413])
@blueprint.alt_response(422, schema=Failure, **FAILURES[422])
@blueprint.alt_response(429, schema=Failure, **FAILURES[429])
@blueprint.alt_response(500, schema=Failure, **FAILURES[500])
@blueprint.alt_response(503, schema=Failure, **FAILURES[503])
@blueprint.doc(security=[{"api_key": []}], operationId="get_token", parameters=[HEADER_PARAMETER])
def get_token(call: CallRequest) -> Any:
    """Start a call

    Create a LiveKit room, send the assistant into it, and return a participant token for a browser
    or mobile web call.
    """
    placed = place(call)
    return success(
        "Token generated successfully",
        {
            "room_name": placed.room_name,
            "token": placed.token,
            "server_url": placed.server_url,
            "expires_at": placed.expires_at.isoformat().replace("+00:00", "Z"),
        },
    )


@blueprint.get("/assistants")
@authenticated
@blueprint.arguments(ListingQuery(), location="query")
@blueprint.response(200, ListingAnswer, description="A page of assistants.", example=LISTING)
@blueprint.alt_response(401, schema=Failure, **FAILURES[401])
@blueprint.alt_response(403, schema=Failure, **FAILURES[403])
@blueprint.alt_response(422, schema=Failure, **BAD_QUERY)
@blueprint.alt_response(429, schema=Failure, **FAILURES[429])
@blueprint.alt_response(500, schema=Failure, **FAILURES[500])
@blueprint.alt_response(503, schema=Failure, **FAILURES[503])
@blueprint.doc(security=[{"api_key": []}], operationId="list_assistants")
def list_assistants(query: dict[str, Any]) -> Any:
    """List assistants

    The assistants that this API key may call, sorted by id, a page at a time.
    """
    page = services().listing.page(caller(), query.get("after", ""), query["limit"])
    listed = [_listed(assistant) for assistant in page.assistants]
    return envelope("Assistants listed", {"assistants": listed, "next": page.next}, success=True)


def _listed(assistant: Assistant) -> dict[str, str]:
    name, description = (assistant.record.get(f"assistant_{what}") for what in ("name", "description"))
    return {
        "assistant_id": assistant.id,
        "assistant_name": name if isinstance(name, str) else "",
        "assistant_description": description if isinstance(description, str) else "",
        "assistant_mode": assistant.mode,
    }
