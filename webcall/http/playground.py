"""`GET /playground`: a page that places a call and joins it, for trying assistants."""

from __future__ import annotations

from flask import Blueprint, Flask, Response

from webcall.config.settings import Config
from webcall.core.answer_headers import POLICY
from webcall.errors import ConfigError
from webcall.http.assets import CALL, LIVEKIT, STATIC, Assets
from webcall.http.headers import PERMISSIONS, page_policy

_FILES = (LIVEKIT, *CALL, "view.js", "playground.js", "playground.css")


def check(config: Config) -> None:
    """Raise `ConfigError` if the page is switched on and LiveKit's library for it was never fetched."""
    if config.http.playground and not (STATIC / LIVEKIT).is_file():
        raise ConfigError(
            [
                "http.playground: LiveKit's library for browsers is missing: fetch it with "
                "`python -m scripts.frontend`, or set WEBCALL_PLAYGROUND=false"
            ]
        )


def init_app(app: Flask, config: Config) -> None:
    """Serve the page and its files. Raises as `check` does."""
    check(config)
    assets = Assets({name: STATIC / name for name in _FILES})
    # Relative to the page, so that it works behind a proxy that adds a path.
    page_html = assets.refer((STATIC / "playground.html").read_bytes(), "playground/")
    headers = {
        POLICY: policy(config.livekit.server_url),
        PERMISSIONS: "microphone=(self), camera=(), geolocation=()",
    }
    blueprint = Blueprint("playground", __name__)

    @blueprint.get("/playground")
    def page() -> Response:
        return Response(page_html, mimetype="text/html", headers=headers)

    @blueprint.get("/playground/<name>")
    def file(name: str) -> Response:
        return assets.answer(name)

    app.register_blueprint(blueprint)


def policy(server_url: str) -> str:
    """Return the page's policy: its own files, this service, and LiveKit at `server_url` (ws or wss).

    LiveKit is asked over HTTP as well: without that an expired token looks like a server that is down.
    """
    scheme, _, rest = server_url.partition("://")
    # A policy's source may hold a path, but then nothing beside it; LiveKit's paths stand under it.
    host = rest.partition("/")[0]
    secure = "s" if scheme == "wss" else ""
    return page_policy([f"ws{secure}://{host}", f"http{secure}://{host}"])
