"""Toxiproxy on loopback, and a relay behind it for what it cannot do: a network's faults on demand."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.go_programs import NoProgram
from scripts.toxiproxy import TOXIPROXY
from tests.support.listeners import stop_listening
from tests.support.programs import free_port, stop, wait_until, without

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
FORGET, HANG_UP = "forget", "hang up"


class Toxiproxy:
    """One running Toxiproxy, asked over its HTTP API."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._program = program
        self._port = free_port()
        self._log = folder / "toxiproxy.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [str(self._program), "-host", "127.0.0.1", "-port", str(self._port)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self._answers, self._process)

    def stop(self) -> None:
        if self._process is not None:
            stop(self._process)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request to its API and return the JSON of the answer; without a body, None."""
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(f"http://127.0.0.1:{self._port}{path}", data, method=method)
        asked.add_header("Content-Type", "application/json")
        with _OPENER.open(asked, timeout=10) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def _answers(self) -> bool:
        try:
            self.ask("GET", "/version")
        except OSError:
            return False
        return True


class Relay:
    """Hands bytes to and fro. Of what comes from clients it can forget, hang up, or answer by itself.

    A forgotten connection stays open and nobody reads it: to its client the other side has vanished.
    """

    def __init__(self, port: int) -> None:
        """Take the loopback port of the server behind it."""
        self._target = port
        self._acts: dict[socket.socket, str | bytes | None] = {}
        self._of_new: str | bytes | None = None
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def do_with_kept(self, act: str | bytes | None) -> None:
        """Do so with the connections that there are, from their next bytes on."""
        for client in list(self._acts):
            self._acts[client] = act

    def do_with_all(self, act: str | bytes | None) -> None:
        """Do so with all connections, those to come included; bytes are an answer, None is no fault."""
        self._of_new = act
        self.do_with_kept(act)

    def heal(self) -> None:
        """End what `do_with_all` began."""
        if self._of_new is not None:
            self.do_with_all(None)

    def close(self) -> None:
        stop_listening(self._listener)
        for client in list(self._acts):
            _hang_up(client)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._acts[client] = self._of_new
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server: socket.socket | None = None
        try:
            server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
            server.settimeout(None)
            threading.Thread(target=self._back, args=(server, client), daemon=True).start()
            while data := client.recv(65536):
                act = self._acts[client]
                if act is None:
                    server.sendall(data)
                elif isinstance(act, bytes):
                    client.sendall(act)
                elif act == HANG_UP:
                    return
        except OSError:
            pass
        finally:
            self._acts.pop(client, None)
            for end in (client, server):
                if end is not None:
                    _hang_up(end)

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        try:
            while data := server.recv(65536):
                if self._acts.get(client) is None:
                    client.sendall(data)
        except OSError:
            pass
        if self._acts.get(client) is None:
            _hang_up(client)


def _hang_up(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Another thread may be reading: closing alone would tell the other side nothing.
        end.shutdown(socket.SHUT_RDWR)
    end.close()


class Line:
    """The way to one server, over Toxiproxy and a relay. All is well until a method says otherwise."""

    def __init__(self, toxiproxy: Toxiproxy, port: int) -> None:
        """Take the loopback port of the server at its other end."""
        self._toxiproxy = toxiproxy
        self.relay = Relay(port)
        self.port = free_port()
        self._name = secrets.token_hex(4)
        self._path = f"/proxies/{self._name}"
        self._open()

    def _open(self) -> None:
        ends = {"listen": f"127.0.0.1:{self.port}", "upstream": f"127.0.0.1:{self.relay.port}"}
        self._toxiproxy.ask("POST", "/proxies", {"name": self._name, "enabled": True, **ends})
        self._spoilt = False

    def cut(self) -> None:
        """Close every connection and take none."""
        self._toxiproxy.ask("POST", self._path, {"enabled": False})

    def spoil(self, kind: str, stream: str = "downstream", **attributes: Any) -> None:
        """Add one of Toxiproxy's toxics, to the answers or (`upstream`) to the questions."""
        toxic = {"type": kind, "stream": stream, "attributes": attributes}
        self._toxiproxy.ask("POST", f"{self._path}/toxics", toxic)
        self._spoilt = True

    def heal(self) -> None:
        """End every fault; of a spoilt way the connections end. Those that were forgotten stay so."""
        self.relay.heal()
        if self._spoilt:
            # Its toxics one by one: a slicer whose peer is gone hangs then, and Toxiproxy with it (2.12.0).
            self._toxiproxy.ask("DELETE", self._path)
            self._open()
        else:
            self._toxiproxy.ask("POST", self._path, {"enabled": True})

    def close(self) -> None:
        self._toxiproxy.ask("DELETE", self._path)
        self.relay.close()


@pytest.fixture(scope="session")
def toxiproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toxiproxy]:
    """A running Toxiproxy for the whole session."""
    try:
        program = TOXIPROXY.ensure()
    except NoProgram as error:
        without("toxiproxy", str(error))
    running = Toxiproxy(program, tmp_path_factory.mktemp("toxiproxy"))
    running.start()
    yield running
    running.stop()
