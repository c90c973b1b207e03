"""The one body of every JSON answer: `{"success": …, "message": …, "data": …}`."""

from __future__ import annotations

from typing import Any

from flask import Response

from webcall.json_writing import as_bytes


def envelope(message: str, data: dict[str, Any] | None = None, *, success: bool) -> dict[str, Any]:
    """Return the body of an answer."""
    return {"success": success, "message": message, "data": data or {}}


def failure(
    status: int, message: str, data: dict[str, Any] | None = None, headers: dict[str, str] | None = None
) -> Response:
    """Return a whole answer that reports an error."""
    response = _answer(status, envelope(message, data, success=False))
    response.headers.update(headers or {})
    return response


def success(message: str, data: dict[str, Any]) -> Response:
    """Return a whole answer that reports success.

    What a view returns instead flask-smorest passes through the schema that documents it, field by field.
    """
    return _answer(200, envelope(message, data, success=True))


def _answer(status: int, body: dict[str, Any]) -> Response:
    return Response(as_bytes(body) + b"\n", status, content_type="application/json")
