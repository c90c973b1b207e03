"""`GET /openapi.json`, and `GET /docs`: Swagger UI, its files served from here and not from a CDN."""

from __future__ import annotations

import functools
from pathlib import Path

import flask_swagger_ui
from flask import Blueprint, Flask, Response, jsonify, url_for

from webcall.core.answer_headers import POLICY
from webcall.http.api import EnvelopeApi
from webcall.http.assets import Assets
from webcall.http.headers import page_policy

_SWAGGER_UI = Path(flask_swagger_ui.__file__).parent / "dist"
_OWN = Path(__file__).parent / "static"
_FILES = {
    "swagger-ui.css": _SWAGGER_UI / "swagger-ui.css",
    "swagger-ui-bundle.js": _SWAGGER_UI / "swagger-ui-bundle.js",
    "docs.js": _OWN / "docs.js",
}

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Web calls: the HTTP API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{css}">
</head>
<body>
<div id="docs" data-document="{document}"></div>
<script src="{bundle}"></script>
<script src="{start}"></script>
</body>
</html>
"""


def init_app(app: Flask, api: EnvelopeApi) -> None:
    """Serve the document, its page, and the page's files under names that hold their hash."""
    blueprint = Blueprint("docs", __name__)
    assets = Assets(_FILES)
    names = assets.names

    # Made at the first request, when every blueprint is registered, and kept.
    whole = functools.cache(api.document)

    @blueprint.get("/openapi.json")
    def document() -> Response:
        return jsonify(whole())

    @blueprint.get("/docs")
    def page() -> Response:
        html = _PAGE.format(
            css=url_for(".static_file", name=names["swagger-ui.css"]),
            bundle=url_for(".static_file", name=names["swagger-ui-bundle.js"]),
            start=url_for(".static_file", name=names["docs.js"]),
            document=url_for(".document"),
        )
        return Response(html, mimetype="text/html", headers={POLICY: page_policy()})

    @blueprint.get("/docs/<name>")
    def static_file(name: str) -> Response:
        return assets.answer(name)

    app.register_blueprint(blueprint)
