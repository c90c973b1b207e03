"""The transport to LiveKit, with faults on the wire."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.support.fake_livekit import Exchange, FakeLiveKit
from webcall.config import LiveKitConfig
from webcall.core import leftovers, livekit_nodes
from webcall.core.livekit import LiveKit, NewRoom
from webcall.errors import LiveKitError

ROOM = NewRoom(
    name="helper_00000000",
    metadata='{"nonce": "ours"}',
    agent_name="agent",
    dispatch_metadata="{}",
    empty_timeout_s=120,
    departure_timeout_s=20,
)


def config(url: str, timeout_s: float = 1.0) -> LiveKitConfig:
    """Return settings that name `url`."""
    return LiveKitConfig(url, "", "key", "s" * 32, "agent", timeout_s)


@pytest.fixture
def fake() -> Iterator[FakeLiveKit]:
    server = FakeLiveKit()
    yield server
    server.close()


@pytest.fixture
def livekit(fake: FakeLiveKit) -> Iterator[LiveKit]:
    client = LiveKit(config(fake.url))
    yield client
    client.close()


def test_one_request_for_one_room(livekit: LiveKit, fake: FakeLiveKit) -> None:
    """A room and its dispatch cost one request, and the next one uses the same connection."""
    for _ in range(3):
        assert livekit.create_room(ROOM).metadata == ROOM.metadata
    assert fake.requests == ["CreateRoom"] * 3
    assert fake.connections == 1


def test_a_connection_that_broke_is_tried_once_more(livekit: LiveKit, fake: FakeLiveKit) -> None:
    """A reset costs one repeat, with the same room and nonce; the caller sees nothing of it."""

    def reset_once(exchange: Exchange) -> None:
        fake.script = Exchange.serve
        exchange.make_room_in_silence()
        exchange.reset()

    fake.script = reset_once
    assert livekit.create_room(ROOM).metadata == ROOM.metadata
    assert fake.requests == ["CreateRoom"] * 2


def kept_connections(livekit: LiveKit, fake: FakeLiveKit) -> list[socket.socket]:
    """Let several connections be kept, and return them."""
    together = threading.Barrier(4)

    def at_once(exchange: Exchange) -> None:
        together.wait(10)
        exchange.serve()

    fake.script = at_once
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: livekit.create_room(replace(ROOM, name=f"helper_{n}")), range(4)))
    assert len(fake.kept) == 4
    return fake.kept


def test_several_stale_connections_cost_one_repeat(livekit: LiveKit, fake: FakeLiveKit) -> None:
    """Where all kept connections are closed as they are used, the one repeat takes a new one."""
    stale = kept_connections(livekit, fake)

    def close_stale(exchange: Exchange) -> None:
        if exchange.connection in stale:
            exchange.reset()
        else:
            exchange.serve()

    fake.script = close_stale
    assert livekit.create_room(ROOM).metadata == ROOM.metadata
    assert fake.count("CreateRoom") == 4 + 2
    assert livekit.create_room(ROOM).metadata == ROOM.metadata
    assert fake.count("CreateRoom") == 4 + 3


def test_several_half_open_connections_cost_one_call_its_time(livekit: LiveKit, fake: FakeLiveKit) -> None:
    """A kept connection without a peer costs one request its time; later ones do not ask the others."""
    dead = kept_connections(livekit, fake)
    fake.script = lambda exchange: None if exchange.connection in dead else exchange.serve()
    with pytest.raises(LiveKitError, match="no answer within"):
        livekit.create_room(ROOM)
    assert livekit.create_room(ROOM).metadata == ROOM.metadata


@pytest.mark.parametrize("ask", [lambda livekit: livekit.create_room(ROOM), LiveKit.ping])
def test_a_break_before_an_unreachable_server(
    livekit: LiveKit, fake: FakeLiveKit, ask: Callable[[LiveKit], object]
) -> None:
    """A request that may have arrived counts as broken, though nothing listens when it is repeated."""

    def vanish(exchange: Exchange) -> None:
        fake.stop_listening()
        exchange.reset()

    fake.script = vanish
    with pytest.raises(LiveKitError) as caught:
        ask(livekit)
    assert caught.value.kind == "broken"


def test_idle_connections_that_the_server_closed(livekit: LiveKit, fake: FakeLiveKit) -> None:
    """A restart of LiveKit between two calls fails neither of them."""
    livekit.create_room(ROOM)
    fake.hang_up()
    assert livekit.create_room(ROOM).metadata == ROOM.metadata
    assert fake.connections == 2


def test_two_breaks_in_a_row_are_an_error(livekit: LiveKit, fake: FakeLiveKit) -> None:
    """There is one repeat and not more."""
    fake.script = Exchange.reset
    with pytest.raises(LiveKitError) as caught:
        livekit.create_room(ROOM)
    assert caught.value.kind == "broken"
    assert fake.count("CreateRoom") == 2


def test_a_repeat_has_the_time_that_is_left(fake: FakeLiveKit) -> None:
    """A connection that breaks late is no second whole time for the repeat."""
    livekit = LiveKit(config(fake.url, timeout_s=2.0))
    over = threading.Event()

    def reset_late(exchange: Exchange) -> None:
        fake.script = lambda _: None
        over.wait(1.6)
        exchange.reset()

    fake.script = reset_late
    began = time.monotonic()
    with pytest.raises(LiveKitError) as caught:
        livekit.create_room(ROOM)
    assert caught.value.kind == "timeout"
    assert fake.count("CreateRoom") == 2
    assert time.monotonic() - began < 1.6 + 1.6
    livekit.close()


def test_a_hanging_server_costs_the_timeout(livekit: LiveKit, fake: FakeLiveKit) -> None:
    """Without an answer the caller waits for timeout_s and no longer."""
    fake.script = lambda _: None
    began = time.monotonic()
    with pytest.raises(LiveKitError) as caught:
        livekit.create_room(ROOM)
    assert caught.value.kind == "timeout"
    assert 0.9 < time.monotonic() - began < 2


def test_a_slow_drip_costs_the_timeout(livekit: LiveKit, fake: FakeLiveKit) -> None:
    """An answer that never ends is bounded as a whole, not byte by byte."""
    done = threading.Event()

    def drip(exchange: Exchange) -> None:
        exchange.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not done.wait(0.1):
            exchange.connection.sendall(b"x")

    fake.script = drip
    began = time.monotonic()
    with pytest.raises(LiveKitError, match="no answer within 1 s"):
        livekit.create_room(ROOM)
    assert time.monotonic() - began < 2
    done.set()


def test_a_room_whose_creation_was_not_answered_is_removed(
    livekit: LiveKit, fake: FakeLiveKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a time-out the room is deleted in the background, once LiveKit answers again."""
    monkeypatch.setattr(leftovers, "PAUSE_S", 0.05)

    def hang_once(exchange: Exchange) -> None:
        exchange.make_room_in_silence()
        fake.script = Exchange.serve

    fake.script = hang_once
    with pytest.raises(LiveKitError):
        livekit.create_room(ROOM)
    assert fake.deleted.wait(10)
    assert fake.rooms == {}


def test_what_a_broken_try_has_left_is_removed_unless_a_repeat_may_want_it(
    livekit: LiveKit, fake: FakeLiveKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A room that two broken connections may have made is deleted; one that a repeat asks for again stays."""
    monkeypatch.setattr(leftovers, "PAUSE_S", 0.05)

    def make_and_break(exchange: Exchange) -> None:
        exchange.make_room_in_silence()
        exchange.reset()

    for room in (replace(ROOM, name="helper_repeatable", repeatable=True), ROOM):
        fake.script = make_and_break
        with pytest.raises(LiveKitError) as caught:
            livekit.create_room(room)
        assert caught.value.kind == "broken"
        fake.script = Exchange.serve
    assert fake.deleted.wait(10)
    assert list(fake.rooms) == ["helper_repeatable"]


def test_a_loop_that_is_late_leaves_no_room_behind(
    livekit: LiveKit, fake: FakeLiveKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the loop is busy when a request thread gives up, the room is removed when it is not."""
    monkeypatch.setattr(leftovers, "PAUSE_S", 0.05)
    given_up = threading.Event()

    def hold(exchange: Exchange) -> None:
        exchange.make_room_in_silence()
        fake.script = Exchange.serve
        livekit._loop._running().call_soon_threadsafe(given_up.wait, 10)

    fake.script = hold
    with pytest.raises(LiveKitError, match="no answer"):
        livekit.create_room(ROOM)
    given_up.set()
    assert fake.deleted.wait(10)


def test_another_callers_room_is_left_alone(
    livekit: LiveKit, fake: FakeLiveKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the name belonged to a living room of somebody else, nothing is deleted after a time-out."""
    monkeypatch.setattr(leftovers, "PAUSE_S", 0.01)
    looked = threading.Event()

    def hang_once(exchange: Exchange) -> None:
        def serve_and_tell(exchange: Exchange) -> None:
            exchange.serve()
            looked.set()

        fake.script = serve_and_tell

    fake.rooms[ROOM.name] = '{"nonce": "theirs"}'
    fake.script = hang_once
    with pytest.raises(LiveKitError):
        livekit.create_room(ROOM)
    assert looked.wait(10)
    livekit.close()
    assert fake.rooms == {ROOM.name: '{"nonce": "theirs"}'}
    assert fake.count("DeleteRoom") == 0


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        ("401 Unauthorized", b'{"code": "unauthenticated", "msg": "secret text"}', "unauthorized"),
        ("403 Forbidden", b'{"code": "permission_denied", "msg": "secret text"}', "unauthorized"),
        ("400 Bad Request", b'{"code": "invalid_argument", "msg": "secret text"}', "refused"),
        ("404 Not Found", b"<html>secret text</html>", "refused"),
        ("500 Internal Server Error", b"secret text", "answer"),
        ("503 Service Unavailable", b"secret text", "answer"),
        ("200 OK", b"\xff\xff secret text", "answer"),
        ("200 OK", b"", "answer"),
        ("200 OK", b'"a JSON list would be this"', "answer"),
        ("500 Internal Server Error", b'["secret text"]', "answer"),
    ],
)
def test_other_answers(livekit: LiveKit, fake: FakeLiveKit, status: str, body: bytes, kind: str) -> None:
    """Each kind of answer has its name, and the server's own text, which may quote ours, is left out."""
    fake.script = lambda exchange: exchange.answer(body, status, "application/json")
    with pytest.raises(LiveKitError) as caught:
        livekit.create_room(ROOM)
    assert caught.value.kind == kind
    assert "secret text" not in str(caught.value)
    assert fake.count("CreateRoom") == 1


UNAVAILABLE = b'{"code": "unavailable", "msg": "no response from servers"}'


@pytest.mark.parametrize("dead_for", [1, 2, 3])
def test_a_node_that_does_not_respond(
    livekit: LiveKit, fake: FakeLiveKit, dead_for: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where LiveKit has chosen a node that has died, it is asked again, three times in all."""
    monkeypatch.setattr(livekit_nodes, "_PAUSE_S", 0.01)

    def choose(exchange: Exchange) -> None:
        if fake.count("CreateRoom") <= dead_for:
            exchange.answer(UNAVAILABLE, "503 Service Unavailable", "application/json")
        else:
            exchange.serve()

    fake.script = choose
    if dead_for < 3:
        assert livekit.create_room(ROOM).metadata == ROOM.metadata
    else:
        with pytest.raises(LiveKitError, match="503 unavailable"):
            livekit.create_room(ROOM)
    assert fake.count("CreateRoom") == min(dead_for + 1, 3)


def test_a_node_that_dies_with_the_request_in_its_hands(
    livekit: LiveKit, fake: FakeLiveKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that is late for one try is not waited for: the room is asked for again, by the same name."""
    monkeypatch.setattr(livekit_nodes, "_TRY_S", 0.5)

    def hang_once(exchange: Exchange) -> None:
        if fake.count("CreateRoom") > 1:
            exchange.serve()

    fake.script = hang_once
    assert livekit.create_room(ROOM).metadata == ROOM.metadata
    assert fake.count("CreateRoom") == 2


def test_an_answer_about_another_room(
    livekit: LiveKit, fake: FakeLiveKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that is not about the room asked for is no success, and the room is removed."""
    from livekit.protocol.models import Room

    monkeypatch.setattr(leftovers, "PAUSE_S", 0.05)

    def mistake_once(exchange: Exchange) -> None:
        fake.script = Exchange.serve
        exchange.make_room_in_silence()
        exchange.answer(Room(name="else").SerializeToString())

    fake.script = mistake_once
    with pytest.raises(LiveKitError, match="not about the room"):
        livekit.create_room(ROOM)
    assert fake.deleted.wait(10)
    assert fake.rooms == {}


def test_nothing_listens() -> None:
    """A refused connection is told at once, as unreachable."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = LiveKit(config(f"http://127.0.0.1:{port}"))
    with pytest.raises(LiveKitError) as caught:
        client.ping()
    assert caught.value.kind == "unreachable"
    client.close()


def test_tls_against_a_plain_port() -> None:
    """An address with wss for a port that answers in plain HTTP is told as a matter of TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_plainly() -> None:
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.close()

        threading.Thread(target=answer_plainly, daemon=True).start()
        client = LiveKit(config(f"wss://127.0.0.1:{listener.getsockname()[1]}"))
        try:
            with pytest.raises(LiveKitError) as caught:
                client.ping()
        finally:
            client.close()
    assert caught.value.kind == "tls"


def test_many_threads_share_one_loop(livekit: LiveKit, fake: FakeLiveKit) -> None:
    """64 threads at once are served by one event loop thread."""
    errors: list[Exception] = []

    def create(number: int) -> None:
        room = NewRoom(f"helper_{number}", f'{{"nonce": "{number}"}}', "agent", "{}", 120, 20)
        try:
            assert livekit.create_room(room).metadata == room.metadata
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(fake.rooms) == 64
    assert sum(thread.name == "livekit" for thread in threading.enumerate()) == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the fork of a process with threads is the matter
def test_a_fork_starts_with_a_loop_of_its_own(livekit: LiveKit, fake: FakeLiveKit) -> None:
    """What was used before a fork works in the child, over connections of its own."""
    livekit.create_room(ROOM)
    before = fake.connections
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if livekit.create_room(ROOM).metadata == ROOM.metadata else 1)
        except BaseException:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert fake.connections == before + 1


def test_closed_and_used_again(livekit: LiveKit, fake: FakeLiveKit) -> None:
    """close() leaves no thread, and a later call starts anew."""
    livekit.create_room(ROOM)
    livekit.close()
    assert not any(thread.name == "livekit" for thread in threading.enumerate())
    assert livekit.create_room(ROOM).metadata == ROOM.metadata
