"""Who is compared, and how each is started: this service, what a user would write instead, and the floor."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scripts import frontend
from webcall.records import hash_api_key, new_api_key

HERE = Path(__file__).resolve().parent
EXPRESS = HERE / "peers" / "express"
OWNER = "ada@example.com"
ASSISTANT = {
    "assistant_id": "helper",
    "assistant_created_by_email": OWNER,
    "assistant_prompt": "You talk with {{customer.name}}. " + "Be kind, and brief. " * 50,
    "assistant_start_instruction": "Greet {{customer.name}}.",
}
SMALL = {"customer": {"name": "Ada"}, "plan": "gold"}
UVICORN = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "error")
SERVICE, FASTAPI, USUAL, EXPRESS_ONE, FLOOR = "service", "fastapi", "fastapi-usual", "express", "floor"

WORDS = {
    SERVICE: ("This service", "Flask under gunicorn"),
    FASTAPI: ("FastAPI, at its best", "a shared client, one request"),
    USUAL: ("FastAPI, as most write it", "a client per call, two requests"),
    EXPRESS_ONE: ("Express", "livekit-server-sdk, one request"),
    FLOOR: ("The floor", "raw sockets, tokens by hand"),
}
"""What a reader is told of each, in the order in which they are shown."""


@dataclass(frozen=True)
class Contestant:
    """A server: how it is started on a port, and what it needs in its environment."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Deployment:
    """One key and one assistant, in files that all read, and the request that all answer."""

    folder: Path
    api_key: str = field(repr=False)

    @classmethod
    def write(cls, folder: Path) -> Deployment:
        """Write the files."""
        api_key = new_api_key()
        record = {"api_key_hash": hash_api_key(api_key), "user_email": OWNER}
        (folder / "keys.json").write_text(json.dumps([record]))
        (folder / "assistants.json").write_text(json.dumps([ASSISTANT]))
        return cls(folder, api_key)

    def environment(self, livekit_url: str, key: str, secret: str) -> dict[str, str]:
        """Return the variables that name LiveKit and the files."""
        return {
            "LIVEKIT_URL": livekit_url,
            "LIVEKIT_API_KEY": key,
            "LIVEKIT_API_SECRET": secret,
            # One key places them all, far faster than a key may.
            "WEBCALL_LIMIT_PER_KEY": "off",
            "WEBCALL_VALIDATORS": "file",
            "WEBCALL_STORES": "file",
            "WEBCALL_API_KEYS_FILE": str(self.folder / "keys.json"),
            "WEBCALL_ASSISTANTS_FILE": str(self.folder / "assistants.json"),
        }

    def request(self, metadata: Mapping[str, object] | None = None) -> bytes:
        """Return the request as it goes over the wire."""
        body = json.dumps({"assistant_id": "helper", "metadata": SMALL if metadata is None else metadata})
        head = (
            "POST /web_call/get_token HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {self.api_key}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body.encode())}\r\n\r\n"
        )
        return (head + body).encode()


def contestants(port_of: Mapping[str, int], workers: int = 1) -> list[Contestant]:
    """Return them all, each on its port. Raises `scripts.frontend.NoFrontend` without Node."""
    modules = frontend.ensure_modules(EXPRESS, frontend.TOOLS / "bench")

    def uvicorn(app: str, port: int) -> tuple[str, ...]:
        many = ("--workers", str(workers)) if workers > 1 else ()
        return (sys.executable, "-m", "uvicorn", app, "--port", str(port), *UVICORN, *many)

    return [
        Contestant(
            SERVICE,
            (sys.executable, "-m", "gunicorn"),
            {"WEBCALL_BIND": f"127.0.0.1:{port_of[SERVICE]}", "WEBCALL_WORKERS": str(workers)},
        ),
        Contestant(
            FASTAPI,
            uvicorn("benchmarks.peers.fastapi_one:app", port_of[FASTAPI]),
        ),
        Contestant(
            USUAL,
            uvicorn("benchmarks.peers.fastapi_usual:app", port_of[USUAL]),
        ),
        Contestant(
            EXPRESS_ONE,
            (str(frontend.node()), str(EXPRESS / "server.mjs")),
            {"BENCHMARK_PORT": str(port_of[EXPRESS_ONE]), "BENCHMARK_MODULES": str(modules)},
        ),
        Contestant(
            FLOOR,
            (sys.executable, "-m", "benchmarks.peers.floor"),
            {"BENCHMARK_PORT": str(port_of[FLOOR])},
        ),
    ]
