"""The application factory."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from flask import Flask, Request
from flask.sessions import NullSession, SessionInterface

from webcall import cli, http, logs
from webcall.core.services import Services
from webcall.startup import Setup, prepare


class _NoSessions(SessionInterface):
    """There are no cookies here: all requests have one session, which nobody can write to."""

    _nobodys = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        """Return it. Flask's own way would make one for each request."""
        return self._nobodys


class _App(Flask):
    """An application without sessions, none of whose functions are coroutines."""

    session_interface = _NoSessions()

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return `func`. Flask would look at each function that it calls, in each request."""
        return func

    def refuse_coroutines(self) -> None:
        """Raise `TypeError` if any of them is one, which nobody would wait for; for the end of the making."""
        for func in self._called_by_flask():
            innermost = inspect.unwrap(func)
            if inspect.iscoroutinefunction(innermost):
                raise TypeError(
                    f"{innermost!r} is a coroutine function: views and hooks have to be plain ones"
                )

    def _called_by_flask(self) -> Iterator[Callable[..., Any]]:
        """Give views, the methods of those that are classes, and hooks, of the application and blueprints."""
        for view in self.view_functions.values():
            yield view
            view_class = getattr(view, "view_class", None)
            names = ("dispatch_request", *map(str.lower, getattr(view_class, "methods", None) or ()))
            yield from (getattr(view_class, name) for name in names if hasattr(view_class, name))
        for hooks in (
            self.before_request_funcs,
            self.after_request_funcs,
            self.teardown_request_funcs,
            self.template_context_processors,
        ):
            yield from chain.from_iterable(hooks.values())
        yield from self.teardown_appcontext_funcs
        for handlers_by_code in self.error_handler_spec.values():
            for handlers in handlers_by_code.values():
                yield from handlers.values()


def create_app(config: Setup | Mapping[str, Any] | Path | str | None = None) -> Flask:
    """Make the WSGI application.

    `config` is a mapping as config.yaml gives it, a path to such a file, what `prepare` made of them,
    or None to look for a file: `$WEBCALL_CONFIG`, the working directory, beside wsgi.py. Raises
    `ConfigError` with every fault of settings and plugins. Opens no connection: that waits for the
    first request, after the fork.
    """
    setup = config if isinstance(config, Setup) else prepare(config)
    logs.configure(setup.config.log)
    app = _App("webcall", static_folder=None)
    services = app.extensions["webcall"] = Services(setup)
    http.init_app(app, services)
    cli.init_app(app)
    app.refuse_coroutines()
    return app


def create_app_for_help() -> Flask:
    """Make an application that has the commands and nothing behind them, for `--help` without settings.

    It serves no address, and a command that runs on it ends with an error.
    """
    app = _App("webcall", static_folder=None)
    cli.init_app(app)
    return app
