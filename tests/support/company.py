"""A company's own service for the backend `http`: the docs' example, and one that goes wrong as told."""

from __future__ import annotations

import hmac
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.support.deployment import ROOT
from tests.support.listeners import stop_listening
from tests.support.programs import free_port, stop, wait_until

SECRET = "shared between the two sides of the tests"
EXAMPLE = ROOT / "docs" / "examples" / "company_server.py"


class ExampleServer:
    """The example of the docs as it stands there, in a process of its own."""

    def __init__(self, folder: Path, records: Mapping[str, Any]) -> None:
        self._file = folder / "records.json"
        self._file.write_text(json.dumps(records), "utf-8")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/webcall"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {
            **os.environ,
            "WEBCALL_HTTP_SECRET": SECRET,
            "RECORDS": str(self._file),
            "PORT": str(self.port),
        }
        command = [sys.executable, str(EXAMPLE)]
        self._process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        wait_until(self._answers, self._process)

    def stop(self) -> None:
        if self._process is not None:
            stop(self._process)

    def send(self, what: str, body: bytes, signature: str) -> tuple[int, dict[str, str]]:
        """Send a request as it is, and return status and headers of its answer."""
        asked = urllib.request.Request(f"{self.url}/{what}", body, {"Webcall-Signature": signature})
        try:
            with urllib.request.urlopen(asked, timeout=5) as answer:
                return answer.status, dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


def signed(
    body: bytes, request: bytes, *, status: int = 200, what: str = "keys", secret: str = SECRET
) -> str:
    """Return the signature of an answer to a raw request."""
    found = re.search(rb"n=(\w+)", request)
    nonce = found[1].decode() if found else ""
    head = f"answer\n{what}\n{status}\n{nonce}\n".encode()
    return "v1=" + hmac.digest(secret.encode(), head + body, "sha256").hex()


def reply(
    body: bytes, signature: str, *, status: int = 200, more: str = "", length: int | None = None
) -> bytes:
    """Return the bytes of an answer."""
    size = len(body) if length is None else length
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {size}\r\nWebcall-Signature: {signature}\r\n{more}\r\n"
    return head.encode() + body


Act = Callable[[socket.socket, bytes], None]


class Misbehaving:
    """A server that does with each request, given whole, what a test says; it counts both."""

    def __init__(self, act: Act, context: ssl.SSLContext | None = None) -> None:
        self._act = act
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self.most_open = 0
        self.requests = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def open_connections(self) -> set[socket.socket]:
        """The connections that are open now."""
        with self._lock:
            return set(self._open)

    def __enter__(self) -> Misbehaving:
        return self

    def __exit__(self, *_: object) -> None:
        stop_listening(self._listener)
        with self._lock:
            for one in self._open:
                one.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            with self._lock:
                self.connections += 1
                self._open.add(connection)
                self.most_open = max(self.most_open, len(self._open))
            with connection:
                while request := self._request(connection):
                    with self._lock:
                        self.requests += 1
                    self._act(connection, request)
        except OSError:
            pass
        finally:
            with self._lock:
                self._open.discard(connection)

    def _request(self, connection: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            part = connection.recv(65536)
            if not part:
                return b""
            data += part
        head, _, body = data.partition(b"\r\n\r\n")
        found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        while found and len(body) < int(found[1]):
            body += connection.recv(65536)
        return head + b"\r\n\r\n" + body
