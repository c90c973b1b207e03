"""The request that is being answered, what is kept with it, and the application: the things themselves.

Flask's `request`, `g` and `current_app` look for them at each attribute that they are asked for, which takes
several times as long as the attribute does. What is called here is what they call themselves, and Werkzeug
documents: `LocalProxy._get_current_object`. It raises `RuntimeError` outside of a request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flask
from flask import Flask, Request

request: Callable[[], Request] = flask.request._get_current_object  # type: ignore[attr-defined]
"""Return the request that is being answered."""

kept: Callable[[], Any] = flask.g._get_current_object
"""Return what is kept for as long as the request is answered: `flask.g`."""

application: Callable[[], Flask] = flask.current_app._get_current_object  # type: ignore[attr-defined]
"""Return the application that answers."""


def header(name: str) -> str | None:
    """Return a header of the request, and None where it has none; not for Content-Type and Content-Length.

    Werkzeug's headers raise and catch an error for each one that is not there, and most are not.
    """
    return request().environ.get("HTTP_" + name.upper().replace("-", "_"))
