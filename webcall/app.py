"""The application factory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flask import Flask

from webcall import cli, http, logs
from webcall.core.services import Services
from webcall.startup import Setup, prepare


class _App(Flask):
    """An application none of whose functions are coroutines."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return `func`. Flask would look at each function that it calls, in each request."""
        return func


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
    return app
