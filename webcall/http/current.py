"""The request that is being answered, what is kept with it, and the application: the things themselves.

Flask's `request`, `g` and `current_app` look for them at each attribute that they are asked for, which takes
several times as long as the attribute does.
"""

from __future__ import annotations

from typing import Any

import flask
from flask import Flask, Request


def request() -> Request:
    """Return the request that is being answered. Raises `RuntimeError` outside of one."""
    found: Request = flask.request._get_current_object()  # type: ignore[attr-defined]  # Werkzeug documents it
    return found


def header(name: str) -> str | None:
    """Return a header of the request, and None where it has none; not for Content-Type and Content-Length.

    Werkzeug's headers raise and catch an error for each one that is not there, and most are not.
    """
    return request().environ.get("HTTP_" + name.upper().replace("-", "_"))


def kept() -> Any:
    """Return what is kept for as long as the request is answered: `flask.g`."""
    return flask.g._get_current_object()


def application() -> Flask:
    """Return the application that answers."""
    found: Flask = flask.current_app._get_current_object()  # type: ignore[attr-defined]
    return found
