"""What an answer tells a browser to do with it, and not to do: the one place that sets it.

Sources: those of `webcall.core.answer_headers`, which holds what is not for pages alone.
"""

from __future__ import annotations

from collections.abc import Iterable

from flask import Flask, Response

from webcall.core.answer_headers import EVERYWHERE

PERMISSIONS = "Permissions-Policy"

# Of use to documents alone.
_PAGES = {
    "Cross-Origin-Opener-Policy": "same-origin",
    PERMISSIONS: "microphone=(), camera=(), geolocation=()",
}


_ON_ALL = tuple(EVERYWHERE.items())
_ON_PAGES = _ON_ALL + tuple(_PAGES.items())


def page_policy(connect: Iterable[str] = ()) -> str:
    """Return the policy of a page that loads its own files and asks this service and `connect`.

    No inline script and no inline style: what scripts set by `element.style` needs none of that.
    """
    sources = " ".join(["'self'", *connect])
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        f"connect-src {sources}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def init_app(app: Flask) -> None:
    """Put the headers on every answer, but for those that a view or a blueprint has set itself.

    Call it before they are registered: what is done after a request is done in the opposite order.
    """

    @app.after_request
    def harden(response: Response) -> Response:
        headers = response.headers
        # Once: each look into the headers goes through all of them.
        there = {name.lower() for name in headers.keys()}  # noqa: SIM118  # Headers iterates over pairs
        for name, value in _ON_PAGES if response.mimetype == "text/html" else _ON_ALL:
            if name.lower() not in there:
                headers.add(name, value)
        return response
