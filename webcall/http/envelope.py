"""The one body of every JSON answer: `{"success": …, "message": …, "data": …}`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from flask import Response

from webcall.json_writing import as_bytes

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


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
    return _WholeAnswer(as_bytes(body) + b"\n", status, content_type="application/json")


class _WholeAnswer(Response):
    """An answer whose body and head are ready: it has a length, no Location, and nothing to close."""

    def get_wsgi_response(
        self, environ: WSGIEnvironment
    ) -> tuple[Iterable[bytes], str, list[tuple[str, str]]]:
        """Return it as it is. Werkzeug would copy its headers, and look in them for what is not there."""
        if environ["REQUEST_METHOD"] == "HEAD" or self._on_close:
            return super().get_wsgi_response(environ)
        return cast(list[bytes], self.response), self.status, self.headers.to_wsgi_list()
