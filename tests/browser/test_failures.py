"""Each failure shows its own words within a stated time, and the page goes on as it can."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from tests.browser.conftest import MakeVisitor
from tests.support.browser import Visitor, participants, playground_link, token_for
from tests.support.deployment import Service, livekit_environment, store_records
from tests.support.livekit import LiveKitServer
from tests.support.worker import WorkerProcess

MakeService = Callable[[Mapping[str, str]], Service]

# What Chrome writes of a connection and of a request that failed.
SOCKET, RESOURCE = "WebSocket connection to ", "Failed to load resource: "


def test_a_refused_microphone_leaves_the_chat(visitor_of: MakeVisitor, playground: Service) -> None:
    """Where the browser refuses the microphone, that is said within 5 s of joining, and typing works."""
    visitor = visitor_of(playground, microphone=False)
    visitor.call()
    assert "not allowed to use the microphone" in visitor.notice("microphone_refused", 5)
    visitor.type("what is seven plus eight")
    visitor.until_said(r"\b15\b")


def test_an_expired_token_is_told(visitor: Visitor, livekit_server: LiveKitServer) -> None:
    """A link whose token is too old says so within 5 s, and a new call can be started."""
    token = token_for(livekit_server, "helper_00000000", age=timedelta(hours=1))
    visitor.open(playground_link(visitor.service, livekit_server, "helper_00000000", token))
    assert "has expired" in visitor.notice("token_refused", 5)
    assert token[:20] not in visitor.page.content()
    visitor.forgive(SOCKET, RESOURCE)
    visitor.fill(text_only=True)
    visitor.page.click("#start")
    visitor.until_said(r"\bAda\b")


def test_a_second_person_is_refused(
    visitor: Visitor, visitor_of: MakeVisitor, playground: Service, livekit_server: LiveKitServer
) -> None:
    """Whoever comes into a call that has its person is told so within 10 s; the call goes on."""
    visitor.call(text_only=True)
    visitor.until_said(r"\bAda\b")
    room = visitor.room
    second = visitor_of(playground)
    second.open(playground_link(second.service, livekit_server, room, token_for(livekit_server, room)))
    assert "Somebody else is in this call" in second.notice("room_taken", 10)
    second.forgive(SOCKET)
    visitor.type("what is seven plus eight")
    visitor.until_said(r"\b15\b")
    assert len(participants(livekit_server, room)) == 2


def test_an_absent_assistant_is_told(visitor: Visitor) -> None:
    """Where no worker takes the call, that is said 10 s after joining; what was typed waits, and says so."""
    visitor.call("other", text_only=True)
    visitor.type("is anybody there")
    assert "has not come yet" in visitor.notice("assistant_absent", 11)
    [typed] = visitor.entries()
    assert "sent when the assistant is here" in typed["who"]
    visitor.page.click("#hangup")
    visitor.until_state("ended")
    [typed] = visitor.entries()
    assert "not sent" in typed["who"]


def test_a_killed_assistant_is_told(
    visitor: Visitor, worker: WorkerProcess, livekit_server: LiveKitServer
) -> None:
    """An assistant whose process is killed in a call is told of within 25 s: LiveKit takes 22 to notice."""
    earlier = processes_in_rooms(worker, livekit_server)
    visitor.call(text_only=True)
    visitor.until_said(r"\bAda\b")
    [process] = processes_in_rooms(worker, livekit_server) - earlier
    process.kill()
    assert "has dropped out" in visitor.notice("assistant_lost", 25)
    assert visitor.page.get_attribute("#state", "data-state") == "joined"


def processes_in_rooms(worker: WorkerProcess, server: LiveKitServer) -> set[psutil.Process]:
    """Return the processes of the worker that are connected to LiveKit, each for a call."""
    assert worker.process is not None
    found = set()
    for child in psutil.Process(worker.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if any(there.raddr and there.raddr.port == server.port for there in child.net_connections("tcp")):
                found.add(child)
    return found


@pytest.fixture
def own_livekit(livekit_binary: Path, tmp_path: Path) -> Iterator[LiveKitServer]:
    """A LiveKit server of the test's own, not started."""
    server = LiveKitServer(livekit_binary, tmp_path)
    yield server
    server.stop()


def test_a_livekit_that_is_down_is_told(
    visitor_of: MakeVisitor,
    make_service: MakeService,
    own_livekit: LiveKitServer,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """No LiveKit: a new call and a link say so within 10 s each; one that goes away in a call, within 5 s."""
    records = store_records("file", tmp_path, request)
    service = make_service({**livekit_environment(own_livekit), **records, "WEBCALL_PLAYGROUND": "true"})
    visitor = visitor_of(service)
    visitor.open()
    visitor.fill(text_only=True)
    visitor.page.click("#start")
    assert "could not set up the call" in visitor.notice("service_failed", 10)
    visitor.forgive(RESOURCE)
    visitor.open(playground_link(service.url, own_livekit, "a", token_for(own_livekit, "a")))
    assert "cannot be reached" in visitor.notice("livekit_unreachable", 10)
    visitor.forgive(SOCKET, RESOURCE)

    own_livekit.start()
    visitor.fill(text_only=True)
    visitor.page.click("#start")
    visitor.until_state("joined")
    own_livekit.stop()
    visitor.until_state("reconnecting", within_s=5)
    # It comes back without its rooms.
    own_livekit.start()
    assert "could not be restored" in visitor.notice("connection_lost", 10)
    visitor.forgive(SOCKET, RESOURCE)
