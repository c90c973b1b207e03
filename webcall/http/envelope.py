"""The one body of every JSON answer: `{"success": …, "message": …, "data": …}`."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify


def envelope(message: str, data: dict[str, Any] | None = None, *, success: bool) -> dict[str, Any]:
    """Return the body of an answer."""
    return {"success": success, "message": message, "data": data or {}}


def failure(
    status: int, message: str, data: dict[str, Any] | None = None, headers: dict[str, str] | None = None
) -> Response:
    """Return a whole answer that reports an error."""
    response = jsonify(envelope(message, data, success=False))
    response.status_code = status
    response.headers.update(headers or {})
    return response
