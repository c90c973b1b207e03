"""Canaries in every key, secret, prompt and metadata, and a search for them in all that gets out."""

from __future__ import annotations

import json
import os
import socket
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.deployment import Service, bearer, livekit_environment, settings
from tests.support.fake_livekit import FakeLiveKit
from tests.support.http import CALL, JSON, get, send
from tests.support.livekit import LiveKitServer
from tests.support.webhooks import PATH as WEBHOOK
from tests.support.webhooks import event, sign, signed
from webcall.records import hash_api_key

CANARY = b"CANARY"
KEY = "lvk_CANARYgoodkey" + "k" * 30
BAD_KEY = "lvk_CANARYbadkey" + "b" * 30
PAGE_KEY = "lvp_CANARYpagekey" + "p" * 30
OPEN_KEY = "lvp_CANARYopenkey" + "o" * 30
API_KEYS = [
    {"api_key_hash": hash_api_key(KEY), "user_email": "ada@example.com"},
    {
        "api_key_hash": hash_api_key(PAGE_KEY),
        "user_email": "ada@example.com",
        "allowed_assistants": ["good"],
        "allowed_origins": ["https://page.example"],
        "allowed_metadata": ["who"],
    },
    # Without what a publishable key needs: refused with a line of its own in the log.
    {"api_key_hash": hash_api_key(OPEN_KEY), "user_email": "ada@example.com"},
]
PROMPT = "CANARYprompt: never tell {{CANARYname}} {{who}}"
METADATA = {"who": "CANARYmetadata", "CANARYname": "CANARYvalue", "nested": {"CANARYdeep": ["CANARYitem"]}}
PASSWORD = "CANARYpassword"
TOKEN_SOURCE = "/web_call/token_source"
ASSISTANTS = [
    {"assistant_id": "good", "assistant_created_by_email": "ada@example.com", "assistant_prompt": PROMPT},
    {
        "assistant_id": "broken",
        "assistant_created_by_email": "ada@example.com",
        "assistant_prompt": "CANARYprompt {{#CANARYsection}}",
    },
    {
        "assistant_id": "swelling",
        "assistant_created_by_email": "ada@example.com",
        "assistant_prompt": "{{#list}}" + "CANARYprompt " * 6 + "{{/list}}",
    },
]
LEAKY_PLUGIN = """
    import webcall

    class Leaky:
        def validate(self, api_key):
            if "leak" in api_key:
                raise RuntimeError(f"cannot look up {api_key}") from ValueError(api_key)
            if "garbage" in api_key:
                return api_key
            return None

        def ping(self):
            raise RuntimeError("mongodb://user:CANARYpassword@host")

    @webcall.hookimpl
    def webcall_key_validators():
        return [webcall.Backend("leaky", "Raises what it was given.", None, lambda settings: Leaky())]
"""


def raw(port: int, request: bytes) -> bytes:
    """Send bytes that no client library would send; return the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer


@dataclass(frozen=True)
class Search:
    """All that got out: answers, metrics among them, and logs; and what must be in neither."""

    answers: list[bytes]
    logs: bytes
    hidden: list[str]
    requests: int

    def found(self) -> list[bytes]:
        """Return where there is something that must not be, with what is around it."""
        texts = (b"".join(self.answers), self.logs)
        wanted = [CANARY, b"Traceback", *(one.encode() for one in self.hidden)]
        return [_around(text, what) for text in texts for what in wanted if what in text]


def search(
    make_service: Callable[[Mapping[str, str]], Service], livekit_server: LiveKitServer, tmp_path: Path
) -> Search:
    """Send every kind of request and meet every kind of fault, at the most talkative level of the log.

    Raises `AssertionError` where a status is another one than it has to be.
    """
    fake = FakeLiveKit()
    (tmp_path / "leaky.py").write_text(textwrap.dedent(LEAKY_PLUGIN))
    keys = tmp_path / "keys.json"
    assistants = tmp_path / "assistants.json"
    keys.write_text(json.dumps(API_KEYS))
    assistants.write_text(json.dumps(ASSISTANTS))
    config = settings(
        plugins=[
            "plugins.env",
            "plugins.file",
            "plugins.mongo",
            "plugins.sql",
            "plugins.jwt",
            "plugins.http",
            "leaky",
        ]
    )
    config["livekit"]["timeout_s"] = 1
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))

    def start(livekit: Mapping[str, str], **more: str) -> Service:
        return make_service(
            {
                "WEBCALL_CONFIG": str(tmp_path / "config.yaml"),
                "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
                "WEBCALL_API_KEYS_FILE": str(keys),
                "WEBCALL_ASSISTANTS_FILE": str(assistants),
                "WEBCALL_VALIDATORS": "file,leaky",
                "WEBCALL_STORES": "file",
                "WEBCALL_LOG_LEVEL": "debug",
                "MONGODB_URI": f"mongodb://user:{PASSWORD}@127.0.0.1:9/?authSource=admin",
                "WEBCALL_METRICS_TOKEN": "CANARYmetrics",
                **livekit,
                **more,
            }
        )

    secret = "CANARYsecret" + "s" * 32
    answers: list[bytes] = []
    statuses: list[int] = []
    tokens: list[str] = []

    def call(service: Service, body: Any, key: str = KEY, path: str = CALL, **headers: str) -> int:
        answer = send(service.port, body, bearer(key) | JSON | headers, path=path)
        text = answer.body
        if answer.status in (200, 201):
            token = answer.json["data"]["token"] if path == CALL else answer.json["participant_token"]
            tokens.append(token)
            text = text.replace(token.encode(), b"")
        answers.append(text + str(answer.headers).encode())
        statuses.append(answer.status)
        return answer.status

    good = {"assistant_id": "good", "metadata": METADATA}
    real = start(livekit_environment(livekit_server))
    assert call(real, good) == 200
    assert call(real, good, BAD_KEY) == 401
    assert call(real, good, "CANARYleak") == 500
    assert call(real, good, "CANARYgarbage") == 500
    for assistant_id, status in (("broken", 500), ("nobody", 404)):
        assert call(real, good | {"assistant_id": assistant_id}) == status
    assert call(real, {"assistant_id": "swelling", "metadata": {"list": ["CANARYitem"] * 1200}}) == 422
    assert call(real, {"assistant_id": "good", "metadata": {"x": "CANARYlong" * 2000}}) == 422
    assert call(real, b'{"assistant_id": "good", "metadata": {"CANARYtwice": 1, "CANARYtwice": 1}}') == 422
    assert call(real, b'{"assistant_id": "good", "metadata": CANARYnotjson}') == 422
    assert call(real, good, **{"Content-Type": "CANARY/type"}) == 422
    assert call(real, good, **{"X-Request-ID": "CANARY/id"}) == 200
    # The key where it does not belong.
    assert call(real, {"assistant_id": KEY}) == 404
    assert call(real, good, **{"X-Request-ID": KEY}) == 200
    assert call(real, {"assistant_id": "good", KEY: 1}) == 422
    assert call(real, good, PAGE_KEY, Origin="https://CANARYorigin.example") == 403
    assert call(real, good, PAGE_KEY, Origin="https://page.example") == 422
    assert call(real, good, OPEN_KEY, Origin="https://page.example") == 401
    once = {"Idempotency-Key": "CANARYonce"}
    for body, status in ((good, 200), (good, 200), ({"assistant_id": "good"}, 422)):
        assert call(real, body, **once) == status
    assert call(real, good, **{"Idempotency-Key": "CANARYlong" * 30}) == 422
    source = {"participant_metadata": "CANARYperson", "participant_attributes": {"CANARYname": "CANARYvalue"}}
    for metadata, status in ((json.dumps(METADATA), 201), ("CANARYnotjson", 422), ('["CANARYlist"]', 422)):
        agents = [{"agent_name": "good", "metadata": metadata}]
        body = source | {"room_config": {"agents": agents}}
        assert call(real, body, path=TOKEN_SOURCE) == status
    assert call(real, {"room_name": "CANARYroom", "participant_name": 1}, path=TOKEN_SOURCE) == 422
    for sandbox_id in (KEY, BAD_KEY, "CANARYsandbox"):
        headers = JSON | {"X-Sandbox-Id": sandbox_id, "X-Request-ID": sandbox_id}
        answer = send(real.port, {}, headers, path=TOKEN_SOURCE)
        assert answer.status == 401
        answers.append(answer.body + str(answer.headers).encode())
    key, secret_of_livekit = livekit_server.key, livekit_server.secret
    for status, body, signature in (
        (401, b'{"event": "CANARYevent"}', "CANARYsignature"),
        (200, b"CANARYbody", sign(b"CANARYbody", key, secret_of_livekit)),
        (200, *signed(event("room_finished", "CANARYroom"), key, secret_of_livekit)),
    ):
        answer = send(real.port, body, {"Authorization": signature}, path=WEBHOOK)
        assert answer.status == status
        answers.append(answer.body)
        tokens.append(signature)
    for path in (f"/nowhere/{KEY}", f"/web_call/get_token?key={KEY}&CANARYquery=1", "/ready", "/metrics"):
        answers.append(get(real.port, path).body)
    host = b"Host: x\r\n"
    for request in (
        b"GET /health HTTP/1.1\r\n" + host + b"Authorization CANARYnocolon\r\n\r\n",
        b"POST /web_call/get_token HTTP/1.1\r\n" + host + b"Authorization: Bearer CANARY\x00nul\r\n\r\n",
        b"CANARY /x HTTP/9.9\r\n" + host + b"\r\n",
        b"POST /web_call/get_token HTTP/1.1\r\n" + host + b"Content-Length: CANARY\r\n\r\n",
    ):
        raw(real.port, request)  # gunicorn's own answer goes to who sent the line; its log is looked at

    metrics = send(real.port, headers=bearer("CANARYmetrics"), method="GET", path="/metrics")
    assert metrics.status == 200
    answers.append(metrics.body)

    hanging = start(
        {"LIVEKIT_URL": fake.url, "LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": secret},
        WEBCALL_LIMITS_STORAGE=f"redis://user:{PASSWORD}@127.0.0.1:9/0",
    )
    scripts: list[Any] = [
        lambda _: None,
        lambda exchange: exchange.reset(),
        lambda exchange: exchange.answer(exchange.body, "400 CANARYreason", "application/json"),
        lambda exchange: exchange.answer(exchange.body, "500 CANARYreason", "text/plain"),
        lambda exchange: exchange.answer(exchange.body),
        lambda exchange: exchange.answer(
            b'{"code": "x", "msg": "CANARYmessage"}', "401 No", "application/json"
        ),
    ]
    for script in scripts:
        fake.script = script
        assert call(hanging, good) == 500
    down = start(livekit_environment(livekit_server), WEBCALL_VALIDATORS="mongo", WEBCALL_STORES="mongo")
    assert call(down, good) == 500
    answers.append(get(down.port, "/ready").body)
    fake.close()
    assistants.write_text(json.dumps([{**ASSISTANTS[0], "assistant_placeholder_defaults": "CANARYdefaults"}]))
    assert call(real, good) == 200, "a broken edit: the last good contents go on serving"

    return Search(
        answers,
        b"".join(service.log.read_bytes() for service in (real, hanging, down)),
        [*tokens, livekit_server.secret, KEY, BAD_KEY, PAGE_KEY, OPEN_KEY, secret, hash_api_key(KEY)],
        len(statuses),
    )


def _around(text: bytes, what: bytes) -> bytes:
    at = text.find(what)
    return text[max(0, at - 300) : at + 100]
