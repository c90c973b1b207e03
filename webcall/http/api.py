"""flask-smorest's Api with this service's envelope and OpenAPI document."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import flask_smorest
from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from webcall.http.errors import http_error
from webcall.http.schemas import Failure


class EnvelopeApi(flask_smorest.Api):  # type: ignore[misc]  # flask-smorest has no types
    """Errors of the framework leave in the envelope, too."""

    ERROR_SCHEMA = Failure
    # The document names each status itself, without a catch-all.
    DEFAULT_ERROR_RESPONSE_NAME = None

    @classmethod
    def for_app(cls, app: Flask) -> EnvelopeApi:
        """Return the Api of `app`; its document is served by `webcall.http.docs`."""
        app.config.update(API_TITLE="Web calls", API_VERSION=version("webcall"), OPENAPI_VERSION="3.0.3")
        api = cls(
            app,
            spec_kwargs={
                "info": {
                    "description": "Start a call with a LiveKit voice assistant: one request creates the "
                    "room, sends the assistant into it and returns the token to join with."
                },
                "servers": [{"url": "/"}],
            },
        )
        api.spec.components.security_scheme(
            "api_key", {"type": "http", "scheme": "bearer", "description": "An API key of this service."}
        )
        api.spec.components.security_scheme(
            "sandbox_id",
            {
                "type": "apiKey",
                "in": "header",
                "name": "X-Sandbox-Id",
                "description": "A publishable key, where there is no Authorization.",
            },
        )
        return api

    def handle_http_exception(self, error: HTTPException) -> Response:
        """Answer in the envelope; flask-smorest's own handler drops the description."""
        return http_error(error)

    def document(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        document: dict[str, Any] = self.spec.to_dict()
        schemas = document["components"]["schemas"]
        # flask-smorest's own, of which nothing here makes use.
        schemas.pop("PaginationMetadata", None)
        for schema in schemas.values():
            for field in schema["properties"].values():
                for choice in field.get("anyOf", ()):
                    # apispec means null, and writes any object.
                    if choice == {"type": "object", "nullable": True}:
                        choice["enum"] = [None]
        return document
