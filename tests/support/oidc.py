"""OpenID Connect providers on loopback: a real one, built with Go, and one that tests script."""

from __future__ import annotations

import base64
import hashlib
import http.cookiejar
import json
import os
import re
import secrets
import ssl
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from scripts.go_programs import NoProgram
from scripts.oidc_provider import PROVIDER
from tests.support.programs import free_port, stop, wait_until, without

CALLBACK = "http://localhost:9999/auth/callback"


class Provider:
    """The example provider of zitadel's library: its whole login, in a process of its own."""

    user, password, subject = "test-user@localhost", "verysecure", "id1"
    client, secret = "web", "secret"

    def __init__(self, program: Path, folder: Path) -> None:
        self._program = program
        self.port = free_port()
        self.issuer = f"http://localhost:{self.port}/"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "provider.log").open("wb") as log:
            self._process = subprocess.Popen(
                [str(self._program)], env={**os.environ, "PORT": str(self.port)}, stdout=log, stderr=log
            )
        wait_until(self._answers, self._process)

    def stop(self) -> None:
        if self._process is not None:
            stop(self._process)

    def login(self) -> dict[str, Any]:
        """Sign the user in, by the authorization code with PKCE, and return the token endpoint's answer."""
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
        question = {
            "client_id": self.client,
            "redirect_uri": CALLBACK,
            "response_type": "code",
            "scope": "openid profile email",
            "state": secrets.token_hex(8),
            "code_challenge": challenge.decode(),
            "code_challenge_method": "S256",
        }
        browser = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()), _StopAtCallback
        )
        page = browser.open(
            f"{self._endpoint('authorization')}?{urllib.parse.urlencode(question)}", timeout=10
        )
        fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page.read().decode()))
        form = {**fields, "username": self.user, "password": self.password}
        done = browser.open(page.url, urllib.parse.urlencode(form).encode(), timeout=10)
        back = urllib.parse.parse_qs(urllib.parse.urlsplit(done.headers["Location"]).query)
        assert back["state"] == [question["state"]]
        return self._exchange(back["code"][0], verifier)

    def _exchange(self, code: str, verifier: str) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": CALLBACK,
            "code_verifier": verifier,
        }
        basic = base64.b64encode(f"{self.client}:{self.secret}".encode()).decode()
        asked = urllib.request.Request(
            self._endpoint("token"),
            urllib.parse.urlencode(form).encode(),
            {"Authorization": f"Basic {basic}"},
        )
        with urllib.request.urlopen(asked, timeout=10) as answer:
            answered: dict[str, Any] = json.load(answer)
            return answered

    def _endpoint(self, name: str) -> str:
        with urllib.request.urlopen(f"{self.issuer}.well-known/openid-configuration", timeout=2) as answer:
            return str(json.load(answer)[f"{name}_endpoint"])

    def _answers(self) -> bool:
        try:
            return bool(self._endpoint("token"))
        except OSError:
            return False


class _StopAtCallback(urllib.request.HTTPRedirectHandler):
    """A browser that stops where the application would take over."""

    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str) -> Any:
        return (
            None
            if newurl.startswith(CALLBACK)
            else super().redirect_request(req, fp, code, msg, headers, newurl)
        )

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        answer = super().http_error_302(req, fp, code, msg, headers)
        return fp if answer is None else answer


@pytest.fixture(scope="session")
def oidc_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """A running provider for the whole session."""
    try:
        program = PROVIDER.ensure()
    except NoProgram as error:
        without("an OpenID Connect provider", str(error))
    provider = Provider(program, tmp_path_factory.mktemp("oidc"))
    provider.start()
    yield provider
    provider.stop()


class ScriptedProvider:
    """Answers with what a test says, and counts; `hold` lets answers wait."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.keys: list[dict[str, Any]] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.drip_s = 0.0
        self.fetches = 0
        self.asked: list[str] = []
        self.hold = threading.Event()
        self.hold.set()
        self.body: bytes | None = None
        self.document: dict[str, Any] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked.append(self.path)
                provider.hold.wait(30)
                if self.path.endswith("openid-configuration"):
                    found: Any = {
                        "issuer": provider.issuer,
                        "jwks_uri": f"{provider.issuer}/keys",
                        **provider.document,
                    }
                else:
                    provider.fetches += 1
                    found = {"keys": provider.keys}
                body = json.dumps(found).encode() if provider.body is None else provider.body
                try:
                    self.send_response(provider.status)
                    self.send_header("Content-Length", str(len(body)))
                    for name, value in provider.headers.items():
                        self.send_header(name, value)
                    if provider.drip_s:
                        self._drip()
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass

            def _drip(self) -> None:
                self.flush_headers()
                for number in range(10_000):
                    self.wfile.write(f"X-{number}: drop\r\n".encode())
                    time.sleep(provider.drip_s)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.issuer = f"{'http' if tls is None else 'https'}://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """End it."""
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def scripted_provider() -> Iterator[ScriptedProvider]:
    """A provider that a test scripts."""
    provider = ScriptedProvider()
    yield provider
    provider.close()


def own_certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Make a certificate of 127.0.0.1 that only itself vouches for; return it, and a server's context."""
    file, key = folder / "own.pem", folder / "own.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=own"]
    more = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(file)]
    subprocess.run([*command, *more], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key)
    return file, context
