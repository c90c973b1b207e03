"""Files that pages load, under names that hold their hash, so that browsers may keep them for ever."""

from __future__ import annotations

import functools
import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from pathlib import Path

from flask import Response, abort, request

STATIC = Path(__file__).parent / "static"
LIVEKIT = "vendor/livekit-client.umd.js"
# A call without a page around it, as names below `STATIC`. What a file imports stands before it.
CALL = (
    "failures.js",
    "service.js",
    "attempts.js",
    "transcript.js",
    "events.js",
    "measure.js",
    "timings.js",
    "connection.js",
    "presence.js",
    "microphone.js",
    "outbox.js",
    "call.js",
)

_FOR_EVER = "public, max-age=31536000, immutable"
_KINDS = {".js": "text/javascript", ".css": "text/css"}


class Assets:
    """Some files, read once.

    `files` are paths, or contents, by name, a file that another one refers to before that one. Where one
    refers to `"./<name>"`, in quotes, the reference is written anew to the name that is served.
    """

    def __init__(self, files: Mapping[str, Path | bytes]) -> None:
        self.names: dict[str, str] = {}
        self._served: dict[str, bytes] = {}
        for name, file in files.items():
            content = self.refer(file if isinstance(file, bytes) else file.read_bytes(), "./")
            stem, _, ending = name.rpartition("/")[2].rpartition(".")
            hashed = f"{stem}.{hashlib.sha256(content).hexdigest()[:12]}.{ending}"
            self.names[name] = hashed
            self._served[hashed] = content
        # At the first request for it: a service whose pages nobody opens does not pay for it.
        self._compressed = functools.cache(lambda hashed: gzip.compress(self._served[hashed], mtime=0))

    def refer(self, content: bytes, prefix: str) -> bytes:
        """Return `content` with each reference to one of these files led to `prefix` and its served name."""
        for name, hashed in self.names.items():
            content = content.replace(f'"./{name}"'.encode(), f'"{prefix}{hashed}"'.encode())
        return content

    def answer(self, hashed: str) -> Response:
        """Return the answer that holds a file. Aborts with 404 if there is none of this name."""
        if hashed not in self._served:
            abort(404)
        ending = Path(hashed).suffix
        kind = _KINDS.get(ending) or mimetypes.guess_type(hashed)[0]
        headers = {"Cache-Control": _FOR_EVER, "Vary": "Accept-Encoding"}
        if request.accept_encodings["gzip"] > 0:
            headers["Content-Encoding"] = "gzip"
            return Response(self._compressed(hashed), mimetype=kind, headers=headers)
        return Response(self._served[hashed], mimetype=kind, headers=headers)
