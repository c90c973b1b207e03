"""Query strings: known arguments, each once, or a 422 that says what to fix."""

from __future__ import annotations

from typing import Any, NoReturn

from flask import Request, abort
from marshmallow import ValidationError

from webcall.http.body import StrictParser
from webcall.http.errors import invalid
from webcall.http.requests import without_keys


class QueryParser(StrictParser):
    """The parser of bodies, for queries too: faults are told by argument."""

    def load_querystring(self, req: Request, schema: Any) -> Any:
        """Return the query's arguments; answer 422 if one stands there twice."""
        for name, values in req.args.lists():
            if len(values) > 1:
                _stop({name: ["Given more than once."]})
        return req.args.to_dict()

    def handle_error(self, error: ValidationError, *more: Any, **named: Any) -> NoReturn:
        """Answer 422 with marshmallow's messages by field or argument."""
        faults = error.messages_dict.get("query")
        if isinstance(faults, dict):
            _stop(faults)
        super().handle_error(error, *more, **named)


def _stop(faults: dict[str, Any]) -> NoReturn:
    abort(invalid({without_keys(str(name)): told for name, told in faults.items()}))
