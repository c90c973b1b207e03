"""Look-ups of names: shared by those who ask, bounded in number, and given up by nobody's leaving."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from webcall import resolver as module
from webcall.client_resolver import ClientResolver
from webcall.resolver import Resolver

NAME = "somewhere.test"
FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))]


class Names:
    """A resolver of the system that hangs for every name until the test lets it go."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.over = threading.Event()
        self.answer: Callable[[], Any] = lambda: FOUND

    def look_up(self, host: str, *_: Any, flags: int = 0, **__: Any) -> Any:
        if flags & socket.AI_NUMERICHOST:
            return FOUND
        self.asked.append(host)
        self.over.wait(60)
        return self.answer()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    hanging = Names()
    monkeypatch.setattr(socket, "getaddrinfo", hanging.look_up)
    yield hanging
    hanging.over.set()


def test_those_who_ask_share_a_look_up(names: Names) -> None:
    """However many ask, and whoever of them gives up, the name is asked for once, and each is answered."""
    asked = Resolver()
    first, *others = [asked.addresses(NAME, 80) for _ in range(20)]
    assert not first.cancel()
    assert not any(each.done() for each in others)
    names.over.set()
    assert [each.result(timeout=10) for each in others] == [FOUND] * 19
    assert names.asked == [NAME]


def test_other_names_have_look_ups_of_their_own(names: Names) -> None:
    """Neither another name nor another port waits for a look-up that hangs."""
    asked = Resolver()
    assert len({id(asked.addresses(*each)) for each in [(NAME, 80), (NAME, 81), ("other.test", 80)]}) == 3


def test_a_look_up_is_shared_for_a_while(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was lost does not hold those who come later, and a dead server does not gather threads."""
    monkeypatch.setattr(module, "SHARED_FOR_S", 0.0)
    asked = Resolver()
    begun: set[Future[Any]] = {asked.addresses(NAME, 80) for _ in range(50)}
    assert len(begun) == module.MOST_AT_ONCE
    names.over.set()
    assert all(each.result(timeout=10) == FOUND for each in begun)


def test_look_ups_that_hang_leave_room_for_a_fresh_one(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever DNS is back within the 30 s that each hangs, somebody who asks soon begins one anew."""
    now = SimpleNamespace(s=0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: float(now.s)))
    asked = Resolver()
    begun: dict[Future[Any], int] = {}
    for now.s in range(30):
        begun.setdefault(asked.addresses(NAME, 80), now.s)
    assert list(begun.values())[:3] == [0, 1, 3], "a question that was lost is soon repeated"
    assert max(later - earlier for earlier, later in pairwise([*begun.values(), 30])) <= 5
    assert len(begun) <= module.MOST_AT_ONCE


def test_what_has_ended_is_asked_anew(names: Names) -> None:
    """An answer is not kept, nor is a failure, which each who waits is told."""
    names.over.set()
    asked = Resolver()
    assert asked.addresses(NAME, 80).result(timeout=10) == FOUND

    def fail() -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    names.answer = fail
    with pytest.raises(socket.gaierror):
        _after(asked).result(timeout=10)
    names.answer = lambda: FOUND
    assert _after(asked).result(timeout=10) == FOUND
    assert len(names.asked) == 3


def test_each_who_waits_is_raised_an_error_of_its_own(names: Names) -> None:
    """None of them holds what another who waited was doing, and with which keys."""

    def fail() -> Any:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    names.answer = fail
    found = Resolver().addresses(NAME, 80)
    names.over.set()

    async def in_a_loop() -> None:
        await asyncio.wrap_future(found)

    def first(wait: Callable[[], Any]) -> None:
        wait()

    def second(wait: Callable[[], Any]) -> None:
        wait()

    for waiter in (first, second):
        for wait in (lambda: found.result(timeout=10), lambda: asyncio.run(in_a_loop())):
            with pytest.raises(socket.gaierror) as raised:
                waiter(wait)
            assert raised.value.args == (socket.EAI_AGAIN, "Temporary failure in name resolution")
            frames = {frame.name for frame in traceback.extract_tb(raised.value.__traceback__)}
            assert frames & {"first", "second"} == {waiter.__name__}


def test_where_no_thread_can_be_started(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a failed look-up, and the next one is begun as if there had been none."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    asked = Resolver()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        refused = asked.addresses(NAME, 80)
    with pytest.raises(OSError, match="no thread can be started"):
        refused.result(timeout=0)
    assert asked._running == {}
    names.over.set()
    assert asked.addresses(NAME, 80).result(timeout=10) == FOUND


def _after(asked: Resolver) -> Future[Any]:
    """Ask when the last look-up's thread is done."""
    for thread in threading.enumerate():
        if NAME in thread.name:
            thread.join(timeout=10)
    return asked.addresses(NAME, 80)


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "::1"])
def test_an_address_needs_no_look_up(names: Names, address: str) -> None:
    """An address is found at once while every look-up hangs."""
    assert Resolver().addresses(address, 80).result(timeout=0) == FOUND
    assert names.asked == []


def test_after_a_fork_nobody_waits_for_the_parents_threads(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that has inherited a look-up begins one of its own."""
    asked = Resolver()
    inherited = asked.addresses(NAME, 80)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert asked.addresses(NAME, 80) is not inherited


_HANGING = """
import asyncio, socket, threading
import aiohttp
from webcall.client_resolver import ClientResolver
from webcall.resolver import Resolver

asked = threading.Event()

def hang(*_, **__):
    asked.set()
    threading.Event().wait(60)

async def ask():
    connector = aiohttp.TCPConnector(resolver=ClientResolver(Resolver()))
    async with aiohttp.ClientSession(connector=connector) as session:
        try:
            async with asyncio.timeout(0.1):
                await session.get("http://somewhere.test/")
        except TimeoutError:
            print("in time")

socket.getaddrinfo = hang
asyncio.run(ask())
assert asked.is_set()
"""


def test_the_end_of_a_process_waits_for_no_look_up() -> None:
    """A command whose name server is dead ends when it has told so."""
    began = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", _HANGING], stdout=subprocess.PIPE, timeout=120, check=True)
    assert ended.stdout == b"in time\n"
    assert time.monotonic() - began < 50


def test_addresses_are_those_that_a_client_can_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each family, or of the one that is asked for; with its zone, where an address has one."""
    found = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 80, 0, socket.if_nametoindex("lo"))),
        *FOUND,
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    def hosts(family: socket.AddressFamily) -> list[str]:
        resolved = asyncio.run(ClientResolver(Resolver()).resolve(NAME, 80, family))
        assert all(each["hostname"] == NAME and each["port"] == 80 for each in resolved)
        return [each["host"] for each in resolved]

    assert hosts(socket.AF_UNSPEC) == ["fe80::1%lo", "192.0.2.1"]
    assert hosts(socket.AF_INET) == ["192.0.2.1"]


def test_a_name_of_which_no_look_up_can_be_made() -> None:
    """A label of more than 63 characters is a failed look-up, and no error of text."""
    with pytest.raises(OSError, match="its name cannot be looked up"):
        Resolver().addresses(f"{'a' * 64}.test", 80).result(timeout=10)
