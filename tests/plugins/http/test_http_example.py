"""The documentation's server for the backend `http` keeps the rules of the signatures."""

from __future__ import annotations

import time
from pathlib import Path

from plugins.http.signing import sign_request
from tests.support.company import SECRET, ExampleServer


def test_the_example_refuses_what_is_forged_late_or_repeated(tmp_path: Path) -> None:
    """The docs' server answers a signed request once, and never one that is changed, old or repeated."""
    server = ExampleServer(tmp_path, {"keys": {"a": {"user_email": "ada@example.com"}}})
    server.start()
    try:
        body, now = b'{"api_key_hash": "a"}', int(time.time())
        good = sign_request(SECRET, "keys", body, now_s=now, nonce="1" * 32)
        assert server.send("keys", body, good)[0] == 200
        assert server.send("keys", body, good)[0] == 400
        late = sign_request(SECRET, "keys", body, now_s=now - 61, nonce="2" * 32)
        early = sign_request(SECRET, "keys", body, now_s=now + 65, nonce="3" * 32)
        fresh = sign_request(SECRET, "keys", body, now_s=now, nonce="4" * 32)
        assert [server.send("keys", body, one)[0] for one in (late, early)] == [400, 400]
        assert server.send("keys", body + b" ", fresh)[0] == 400
        assert server.send("assistants", body, fresh)[0] == 400
        assert server.send("keys", body, "")[0] == 400
        assert server.send("keys", body, fresh)[0] == 200
    finally:
        server.stop()
