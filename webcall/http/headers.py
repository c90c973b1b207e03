"""What an answer tells a browser to do with it, and not to do: the one place that sets it.

Sources: those of `webcall.core.answer_headers`, which holds what is not for pages alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flask import Flask

from webcall.core.answer_headers import EVERYWHERE
from webcall.http.cors import ALLOW_ORIGIN, is_hidden

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PERMISSIONS = "Permissions-Policy"

# Of use to documents alone.
_ON_PAGES = {
    "Cross-Origin-Opener-Policy": "same-origin",
    PERMISSIONS: "microphone=(), camera=(), geolocation=()",
}
# Pages with hashed files set their own rule; everything else may hold a token.
_ON_ALL = {**EVERYWHERE, "Cache-Control": "no-store"}


def page_policy(connect: Iterable[str] = ()) -> str:
    """Return the policy of a page that loads its own files and asks this service and `connect`.

    No inline script and no inline style: what scripts set by `element.style` needs none of that.
    """
    sources = " ".join(["'self'", *connect])
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        f"connect-src {sources}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def init_app(app: Flask, for_scripts: Mapping[str, str]) -> None:
    """Put the headers on every answer, but for those that a view, a blueprint or flask-cors has set itself.

    `for_scripts` are those of `webcall.http.cors.for_scripts`. Below Flask: Werkzeug's headers would take
    longer for each of them than all take here.
    """
    on_all = _by_lower_name({**_ON_ALL, **for_scripts})
    on_pages = on_all | _by_lower_name(_ON_PAGES)
    served = app.wsgi_app

    def with_headers(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            there = {name.lower(): value for name, value in headers}
            wanted = on_pages if there.get("content-type", "").startswith("text/html") else on_all
            headers += [pair for name, pair in wanted.items() if name not in there]
            if is_hidden(environ.get("PATH_INFO", "")):
                headers[:] = [pair for pair in headers if pair[0] != ALLOW_ORIGIN]
            return start_response(status, headers, *error)

        return served(environ, start)

    app.wsgi_app = with_headers  # type: ignore[method-assign]


def _by_lower_name(headers: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    return {name.lower(): (name, value) for name, value in headers.items()}
