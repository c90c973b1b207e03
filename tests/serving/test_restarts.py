"""Restarts under load, with two workers and a real LiveKit server: no request is lost."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER

from tests.support.clients import Clients
from tests.support.deployment import Service, livekit_environment, store_records
from tests.support.http import get
from tests.support.livekit import LiveKitServer

CLIENTS = 64
RESTARTS = int(os.environ.get("WEBCALL_TEST_RESTARTS", "1"))


@pytest.fixture(scope="module")
def deployed(
    livekit_server: LiveKitServer, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Service]:
    """The sample deployment with two workers, for all of this file's tests."""
    folder = tmp_path_factory.mktemp("restarts")
    often = {"WEBCALL_LIMIT_PER_KEY": "off", "WEBCALL_WORKERS": "2"}
    records = store_records("env", folder, request)
    service = Service(livekit_environment(livekit_server) | often | records, folder / "service.log")
    yield service
    service.stop()


@pytest.fixture
def service(deployed: Service) -> Service:
    """The deployment, running."""
    if deployed.process is None or deployed.process.poll() is not None:
        deployed.start()
    return deployed


def workers(service: Service) -> set[int]:
    assert service.process is not None
    pid = service.process.pid
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def until_replaced(service: Service, old: set[int]) -> None:
    until = time.monotonic() + 60
    while workers(service) & old or len(workers(service)) < 2:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_sigterm_loses_no_request(service: Service) -> None:
    """A service that is stopped answers all that reached it, and its successor all that comes then."""
    with Clients(service.port, CLIENTS).calling() as clients:
        for _ in range(RESTARTS):
            clients.wait_for(100)
            assert service.process is not None
            service.process.send_signal(signal.SIGTERM)
            assert service.process.wait(40) == 0
            service.start()
        clients.wait_for(100)
    assert clients.lost == []
    assert set(clients.answers) == {200}
    assert "Traceback" not in service.log.read_text()
    report("SIGTERM", clients)


def test_sighup_loses_no_request(service: Service) -> None:
    """A reload answers everybody, and refuses nobody."""
    assert service.process is not None
    with Clients(service.port, CLIENTS).calling() as clients:
        for _ in range(RESTARTS):
            clients.wait_for(100)
            old = workers(service)
            service.process.send_signal(signal.SIGHUP)
            until_replaced(service, old)
        clients.wait_for(100)
    assert clients.lost == []
    assert clients.refused == 0
    assert set(clients.answers) == {200}
    report("SIGHUP", clients)


def test_a_killed_worker_loses_its_own_requests_only(service: Service) -> None:
    """The other worker answers on, a new one comes, and nothing of the dead one counts as running."""
    with Clients(service.port, CLIENTS).calling() as clients:
        clients.wait_for(100)
        killed, other = workers(service)
        os.kill(killed, signal.SIGSTOP)
        its_own = {one.raddr.port for one in psutil.Process(killed).net_connections("tcp") if one.raddr}
        os.kill(killed, signal.SIGKILL)
        until_replaced(service, {killed})
        clients.wait_for(200)
    assert clients.lost, "there was something to lose"
    assert {loss.port for loss in clients.lost} <= its_own
    assert set(clients.answers) == {200}
    assert other in workers(service)
    assert "\nwebcall_in_flight 0.0" in get(service.port, "/metrics").body.decode()
    report("SIGKILL", clients)


def test_who_was_silent_is_answered_while_it_stops(service: Service) -> None:
    """A request on a connection that was idle, or new and silent, at SIGTERM gets its answer and a close."""
    assert service.process is not None
    kept, silent = (http.client.HTTPConnection("127.0.0.1", service.port, timeout=20) for _ in range(2))
    kept.request("GET", "/health")
    assert kept.getresponse().read()
    silent.connect()
    service.process.send_signal(signal.SIGTERM)
    with Clients(service.port, 1).calling() as clients:
        until = time.monotonic() + 10
        while not clients.refused:
            assert time.monotonic() < until
    for connection in (kept, silent):
        connection.request("GET", "/health")
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Connection"]) == (200, "close")
        assert answer.read()
        connection.close()
    assert service.process.wait(40) == 0


def test_who_has_sent_half_a_request_may_send_the_rest(service: Service) -> None:
    """A head that is on its way at SIGTERM has the time that it has at any other moment."""
    assert service.process is not None
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
        # The answer tells that the worker has the connection, and the beginning of the next head.
        client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /health HTTP/1.1\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        service.process.send_signal(signal.SIGTERM)
        # A connection that is closed meanwhile can be read at once.
        client.settimeout(STOP_KEEPALIVE_LINGER + 1.5)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(20)
        client.sendall(b"Host: x\r\n\r\n")
        answer = client.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"Connection: close" in answer
    assert service.process.wait(40) == 0


def test_everybody_is_told_to_end(service: Service) -> None:
    """SIGTERM to master and workers at once, as systemd sends it by default, loses no request either."""
    assert service.process is not None
    with Clients(service.port, CLIENTS).calling() as clients:
        clients.wait_for(100)
        for pid in (*workers(service), service.process.pid):
            os.kill(pid, signal.SIGTERM)
        assert service.process.wait(40) == 0
        service.start()
        clients.wait_for(100)
    assert clients.lost == []
    assert set(clients.answers) == {200}


def report(what: str, clients: Clients) -> None:
    """Write the figures that docs/reliability.md quotes; seen with `pytest -s`."""
    print(
        f"{what}: {clients.sent} sent, {len(clients.lost)} lost, {clients.refused} refused and sent again, "
        f"the slowest answer after {clients.slowest_s:.1f} s"
    )
