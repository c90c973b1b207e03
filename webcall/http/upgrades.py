"""Requests to switch protocols, which are answered as if they did not ask: RFC 9110, section 7.8."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def init_app(app: Flask) -> None:
    """Take the header away: Werkzeug's routing answers 400 where it asks for a WebSocket."""
    served = app.wsgi_app

    def without_upgrade(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ.pop("HTTP_UPGRADE", None)
        return served(environ, start_response)

    app.wsgi_app = without_upgrade  # type: ignore[method-assign]
