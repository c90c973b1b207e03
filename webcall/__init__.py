"""Web calls with LiveKit voice assistants: one POST, one room, one token.

Plugins import what they need from here; `create_app` is for `wsgi.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webcall.errors import BackendError, Conflict, RecordError, Refused
from webcall.hookspecs import hookimpl
from webcall.interfaces import Assistant, Backend, Caller
from webcall.observed import CreatedCall, EndedCall, RefusedCall

if TYPE_CHECKING:
    from flask import Flask

__all__ = [
    "Assistant",
    "Backend",
    "BackendError",
    "Caller",
    "Conflict",
    "CreatedCall",
    "EndedCall",
    "RecordError",
    "Refused",
    "RefusedCall",
    "create_app",
    "hookimpl",
]


def create_app(config: Mapping[str, Any] | Path | str | None = None) -> Flask:
    """Make the WSGI application. See `webcall.app.create_app`."""
    # Imported here so that a plugin or a worker that imports webcall does not load Flask.
    from webcall.app import create_app as build

    return build(config)
