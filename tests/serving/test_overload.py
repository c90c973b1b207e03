"""Three times as many calls as can be served: those that can are, the others are told at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from tests.support.deployment import KEY, Service, bearer, store_records
from tests.support.fake_livekit import Exchange, FakeLiveKit
from tests.support.http import JSON, get, send
from tests.support.load import Load, quantile
from webcall.core.gate import Gate

THREADS = 16
# So that not this machine, whatever else it does, but LiveKit sets what can be served.
LIVEKIT_TAKES_S = 0.35
SUSTAINABLE = Gate(THREADS).places / LIVEKIT_TAKES_S
SECONDS = 5.0
# For a machine that is busy.
SLACK_S = 3.0


@pytest.fixture
def fake() -> Iterator[FakeLiveKit]:
    server = FakeLiveKit()

    def serve_late(exchange: Exchange) -> None:
        time.sleep(LIVEKIT_TAKES_S)
        exchange.serve()

    server.script = serve_late
    yield server
    server.close()


class Watched:
    """Asks for /health over and over, and looks at the memory, while the block runs."""

    def __init__(self, service: Service) -> None:
        assert service.process is not None
        self._port = service.port
        [self._worker] = psutil.Process(service.process.pid).children()
        self.memory_before = self.most_memory = self._worker.memory_info().rss
        self.health: list[tuple[int, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            began = time.monotonic()
            self.health.append((get(self._port, "/health").status, time.monotonic() - began))
            self.most_memory = max(self.most_memory, self._worker.memory_info().rss)


def test_three_times_the_load(
    make_service: Callable[[Mapping[str, str]], Service],
    fake: FakeLiveKit,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """Goodput stays, the rest gets 503 in a moment, /health answers, memory stays, and it ends in time."""
    service = make_service(
        fake.environment
        | store_records("env", tmp_path, request)
        | {"WEBCALL_THREADS": str(THREADS), "WEBCALL_LIMIT_PER_KEY": "off"}
    )
    assert send(service.port, {"assistant_id": "helper"}, bearer() | JSON).status == 200
    with Watched(service) as watched:
        sent = Load.begin(service.port, KEY, 3 * SUSTAINABLE, SECONDS).wait()
    assert {one.status for one in sent} == {200, 503}
    served = [one for one in sent if one.status == 200]
    in_time = [one for one in served if one.at_s + one.took_s < SECONDS]
    assert len(in_time) > 0.5 * SUSTAINABLE * (SECONDS - LIVEKIT_TAKES_S)
    assert quantile([one.took_s for one in served], 0.95) < LIVEKIT_TAKES_S + 1 + SLACK_S
    turned_away = [one.took_s for one in sent if one.status == 503]
    # The first ones may have waited for their second; afterwards nobody is let in who would.
    assert quantile(turned_away, 0.5) < 1
    assert quantile(turned_away, 0.99) < 1 + SLACK_S
    assert max(one.at_s + one.took_s for one in sent) < SECONDS + 1 + SLACK_S, "it is over with the load"
    assert {status for status, _ in watched.health} == {200}
    assert max(took for _, took in watched.health) < SLACK_S
    assert watched.most_memory - watched.memory_before < 64e6
    assert send(service.port, {"assistant_id": "helper"}, bearer() | JSON).status == 200
