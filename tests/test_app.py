"""The application factory: what Flask is to call is looked at once, at the start."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.views import MethodView

import webcall.http
from tests.support.deployment import MakeApp
from webcall.core.services import Services

LIVEKIT = {"LIVEKIT_URL": "ws://127.0.0.1:9", "LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": "s" * 32}


async def waiting(*_: Any, **__: Any) -> Any:
    """Be what Flask without its own look would call and not wait for."""


@functools.wraps(waiting)
def wrapped(*args: Any, **kwargs: Any) -> Any:
    """Be the same, as a decorator leaves it."""
    return waiting(*args, **kwargs)


class View(MethodView):
    """One method of it is a coroutine."""

    def get(self) -> str:
        """Be plain."""
        return ""

    post = waiting


REGISTERED: dict[str, Callable[[Flask], object]] = {
    "view": lambda app: app.add_url_rule("/more", view_func=waiting),
    "decorated view": lambda app: app.add_url_rule("/more", view_func=wrapped),
    "method of a view": lambda app: app.add_url_rule("/more", view_func=View.as_view("more")),
    "before a request": lambda app: app.before_request(waiting),
    "after a request": lambda app: app.after_request(waiting),
    "end of a request": lambda app: app.teardown_request(waiting),
    "end of a context": lambda app: app.teardown_appcontext(waiting),
    "error": lambda app: app.register_error_handler(418, waiting),
    "template": lambda app: app.context_processor(waiting),
}


@pytest.mark.parametrize("register", REGISTERED.values(), ids=REGISTERED)
def test_a_coroutine_function_ends_the_start(
    register: Callable[[Flask], object], make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A view or hook that nobody would wait for is refused by its name when the application is made."""
    init_app = webcall.http.init_app

    def init_with_one_more(app: Flask, services: Services) -> None:
        init_app(app, services)
        register(app)

    monkeypatch.setattr(webcall.http, "init_app", init_with_one_more)
    with pytest.raises(TypeError, match=r"function waiting .*is a coroutine function"):
        make_app(LIVEKIT)
