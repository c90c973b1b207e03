"""`GET /widget.js`: a call button for any page, and the files that it loads.

Pages name it for years, so its own name stays and is kept for minutes; what it imports has hashed names.
It opens nothing: whom a page may call, and from where, is for its key to say.
"""

from __future__ import annotations

import structlog
from flask import Blueprint, Flask, Response, request

from webcall.core.answer_headers import RESOURCE_POLICY
from webcall.http import current
from webcall.http.assets import CALL, LIVEKIT, STATIC, Assets
from webcall.http.cors import ALLOW_ORIGIN

log = structlog.stdlib.get_logger("webcall.http")

ENTRY = "widget.js"
AT_ONCE = ("widget-style.js", "widget-dom.js", "widget-conversation.js", "widget-panel.js")
_WITH_THE_CALL = (*CALL, "widget-words.js", "widget-call.js")
_MAX_AGE_S = 300
# LiveKit's library is no module: as it stands it would put a name into the page, or be taken for AMD there.
_AS_MODULE = b"const exports = {}, module = { exports };\n%s\nexport default exports;\n"


def init_app(app: Flask) -> None:
    """Serve the widget; without LiveKit's library there is none, and a line in the log says so.

    Call it before CORS is set up: what it does after a request comes after that.
    """
    library = STATIC / LIVEKIT
    if not library.is_file():
        log.warning(
            "no widget: LiveKit's library for browsers is missing",
            fix="fetch it with `python -m scripts.frontend`, or set WEBCALL_WIDGET=false",
        )
        return
    paths = {name: STATIC / name for name in (*_WITH_THE_CALL, *AT_ONCE)}
    assets = Assets({LIVEKIT: _AS_MODULE % library.read_bytes(), **paths})
    script = assets.refer((STATIC / ENTRY).read_bytes(), "./widget/")
    blueprint = Blueprint("widget", __name__)

    @blueprint.get(f"/{ENTRY}")
    def entry() -> Response:
        response = Response(script, mimetype="text/javascript")
        response.cache_control.public = True
        response.cache_control.max_age = _MAX_AGE_S
        response.add_etag()
        response.make_conditional(request)
        return response

    @blueprint.get("/widget/<name>")
    def file(name: str) -> Response:
        return assets.answer(name)

    @app.after_request
    def for_every_page(response: Response) -> Response:
        # A module from another origin needs CORS, whatever `http.cors_origins` says of the answers to calls.
        if current.request().blueprint == blueprint.name:
            response.headers[ALLOW_ORIGIN] = "*"
            response.headers[RESOURCE_POLICY] = "cross-origin"
        return response

    app.register_blueprint(blueprint)
