"""A resolver of the system that knows one more name, until it hangs for that one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest


class Names:
    """Knows `name` as this machine; while `hangs` is set, what is asked for it is not answered."""

    def __init__(self) -> None:
        self.name = "neighbour.example.com"
        self.hangs = False
        self.asked = threading.Event()
        self.over = threading.Event()
        self._ask = socket.getaddrinfo

    def look_up(self, host: Any, *args: Any, **kwargs: Any) -> Any:
        """Stand for `socket.getaddrinfo`."""
        if host not in (self.name, self.name.encode()):
            return self._ask(host, *args, **kwargs)
        if self.hangs:
            self.asked.set()
            self.over.wait(60)
        return self._ask("127.0.0.1", *args, **kwargs)

    def answer(self) -> None:
        """End the outage: what hangs is answered, and what is asked from now on."""
        self.hangs = False
        self.over.set()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    """The system's resolver, which the test may let hang."""
    resolver = Names()
    monkeypatch.setattr(socket, "getaddrinfo", resolver.look_up)
    yield resolver
    resolver.answer()
