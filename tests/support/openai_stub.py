"""A server in OpenAI's place on a loopback port: chat by SSE, transcription, speech, and faults on demand.

`openai_stub.base_url` goes into the setting `worker.openai_base_url`, `openai_stub.behaviour(…)` says how
the next requests are answered, `openai_stub.requests` holds those that came.
"""

from __future__ import annotations

import io
import json
import math
import struct
import threading
import time
import wave
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

import pytest

Behaviour = Literal["stream", "slow", "401", "429", "500", "garbage", "hang"]
Route = Literal["chat", "transcription", "speech"]

# What stands in the text of every fault: a test that finds it elsewhere has found a leak.
CANARY = "canary-of-the-provider"
_ROUTES: dict[str, Route] = {
    "/chat/completions": "chat",
    "/audio/transcriptions": "transcription",
    "/audio/speech": "speech",
}
# Between two words of a slow answer.
_SLOW_S = 0.4
SAMPLE_RATE = 24000


@dataclass(frozen=True, slots=True)
class Request:
    """One request: which route, its body (JSON as read; a form as bytes), the bearer that came with it.

    `at` is when it came, in seconds of `time.time()`.
    """

    route: Route
    body: Any
    bearer: str
    at: float = field(default_factory=time.time, compare=False)


class OpenAIStub:
    """The server. `reply` is what the model says, `heard` what transcription understands.

    `looks` are the paths that were asked for by GET, which opens a connection before it is needed.
    `first_after_s` is how long a healthy answer to a route takes to begin, `word_s` what lies between words.
    """

    def __init__(self) -> None:
        self.first_after_s: dict[Route, float] = {}
        self.word_s = 0.0
        self.reply = "Hello from the stub, this is a streamed reply."
        self.heard = "what time is it"
        self.requests: list[Request] = []
        self.looks: list[str] = []
        self._behaviours: dict[Route, Behaviour] = {}
        self._released = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.stub = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def base_url(self) -> str:
        """The address, as OpenAI's clients take it."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def behaviour(self, kind: Behaviour, *routes: Route) -> None:
        """Answer like this from now on: these routes, or all. `stream` is a healthy answer."""
        for route in routes or tuple(_ROUTES.values()):
            self._behaviours[route] = kind

    def of(self, route: Route) -> Behaviour:
        """Return how a route is answered now."""
        return self._behaviours.get(route, "stream")

    def wait(self, seconds: float | None = None) -> None:
        """Let an answer wait, at the longest until the server ends."""
        self._released.wait(seconds)

    def close(self) -> None:
        """End the server and the answers that still wait."""
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    stub: OpenAIStub
    # `hang` ends when the stub does, but a client may hold a connection open beyond that.
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing where a client has gone away in the middle of an answer."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Keep requests out of the test's output."""

    def do_GET(self) -> None:
        # livekit-agents warms up a connection by asking for the models, or for nothing.
        self.server.stub.looks.append(self.path.removeprefix("/v1"))
        self._answer(200, json.dumps({"object": "list", "data": []}).encode())

    def do_POST(self) -> None:
        stub = self.server.stub
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        route = _ROUTES.get(self.path.removeprefix("/v1"))
        if route is None:
            self._answer(404, b"{}")
            return
        is_json = self.headers.get("Content-Type", "").startswith("application/json")
        bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
        stub.requests.append(Request(route, json.loads(raw) if is_json else raw, bearer))
        kind = stub.of(route)
        if kind == "hang":
            stub.wait()
            self.close_connection = True
        elif kind in ("401", "429", "500"):
            error = {"message": f"{CANARY} {kind}", "type": CANARY, "code": CANARY}
            self._answer(int(kind), json.dumps({"error": error}).encode())
        elif kind == "garbage":
            sort = "text/event-stream" if route == "chat" else "application/json"
            self._answer(200, f"data: {{{CANARY}\n\n".encode(), sort)
        elif route == "chat":
            stub.wait(stub.first_after_s.get(route, 0))
            self._chat(_SLOW_S if kind == "slow" else stub.word_s)
        else:
            stub.wait(stub.first_after_s.get(route, 0))
            if kind == "slow":
                stub.wait(_SLOW_S)
            if route == "transcription":
                self._answer(200, json.dumps({"text": stub.heard}).encode())
            else:
                self._answer(200, tone(), "audio/wav")

    def _answer(self, status: int, body: bytes, sort: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", sort)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _chat(self, pause_s: float) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        stub = self.server.stub
        for word in stub.reply.split(" "):
            self._event({"role": "assistant", "content": f"{word} "})
            if pause_s:
                stub.wait(pause_s)
        self._event({}, "stop")
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, delta: dict[str, str], finish: str | None = None) -> None:
        chunk = {
            "id": "chatcmpl-stub",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": "stub",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.flush()


def tone(seconds: float = 0.5) -> bytes:
    """Return a tone as a WAV file, 24 kHz, mono, 16 bit."""
    count = int(seconds * SAMPLE_RATE)
    samples = (int(12000 * math.sin(2 * math.pi * 440 * at / SAMPLE_RATE)) for at in range(count))
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(struct.pack(f"<{count}h", *samples))
    return held.getvalue()


@pytest.fixture
def openai_stub() -> Iterator[OpenAIStub]:
    """A healthy server in OpenAI's place, that the test may make fail."""
    stub = OpenAIStub()
    try:
        yield stub
    finally:
        stub.close()
