"""How often a key and an address may ask: in memory, in Redis, and while Redis is away."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support.deployment import (
    APP_KEY,
    KEY,
    LISTED_KEY,
    OWNER,
    PAGE,
    PAGE_KEY,
    MakeApp,
    Service,
    bearer,
    store_records,
)
from tests.support.fake_livekit import FakeLiveKit
from tests.support.http import CALL, JSON, Answer, at_once, get, send
from tests.support.redis import RedisServer
from webcall.core import storage
from webcall.records import hash_api_key

LISTING = "/web_call/assistants"
HELPER = {"assistant_id": "helper"}
OWN_KEY, FREE_KEY, ODD_KEY = ("lvk_own_" + letter * 39 for letter in "xyz")
MakeService = Callable[[Mapping[str, str]], Service]


@pytest.fixture
def environment(fake_livekit: FakeLiveKit, request: pytest.FixtureRequest, tmp_path: Any) -> dict[str, str]:
    """The sample deployment, and keys with rates of their own."""
    chosen = fake_livekit.environment | store_records("env", tmp_path, request)
    rates = {OWN_KEY: "2/minute", FREE_KEY: "off", ODD_KEY: "often"}
    own = [
        {"api_key_hash": hash_api_key(key), "user_email": OWNER, "rate_limit": rate}
        for key, rate in rates.items()
    ]
    return chosen | {"WEBCALL_API_KEYS": json.dumps(json.loads(chosen["WEBCALL_API_KEYS"]) + own)}


def statuses(client: FlaskClient, key: str, count: int, **headers: str) -> list[int]:
    return [client.get(LISTING, headers=bearer(key) | headers).status_code for _ in range(count)]


class Clock(SimpleNamespace):
    """Takes the place of the module `time` where the limits look at it."""

    now = 1_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the limits in memory, moved by the test."""
    fake = Clock()
    monkeypatch.setattr("limits.storage.memory.time", fake)
    monkeypatch.setattr("webcall.http.limits.time", fake)
    return fake


def test_a_key_past_its_rate_gets_429(make_app: MakeApp, environment: dict[str, str], clock: Clock) -> None:
    """Past the rate: the envelope with Retry-After, right to the second, and then the key works again."""
    client = make_app(environment, limits={"per_key": "3 per 10 seconds"}).test_client()
    assert statuses(client, KEY, 3) == [200] * 3
    clock.now += 6.5
    answer = client.post(CALL, data=b"{", headers=bearer() | JSON)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "4")
    assert answer.json == {
        "success": False,
        "message": "This API key is past its rate of 3 per 10 seconds. Try again in 4 s.",
        "data": {},
    }
    assert statuses(client, LISTED_KEY, 1) == [200], "another key has its own count"
    clock.now += 3.4
    assert client.get(LISTING, headers=bearer()).headers["Retry-After"] == "1"
    clock.now += 0.6
    assert statuses(client, KEY, 4) == [200, 200, 200, 429]


def test_a_keys_own_rate_wins(make_app: MakeApp, environment: dict[str, str]) -> None:
    """A key's rate_limit takes the place of the default, `off` too; one that nobody can read does not."""
    client = make_app(environment, limits={"per_key": "4/minute"}).test_client()
    assert statuses(client, OWN_KEY, 3) == [200, 200, 429]
    assert statuses(client, FREE_KEY, 6) == [200] * 6
    assert statuses(client, ODD_KEY, 5) == [200, 200, 200, 200, 429]
    assert statuses(client, KEY, 5) == [200, 200, 200, 200, 429]


def test_limits_that_are_off_count_nothing(make_app: MakeApp, environment: dict[str, str]) -> None:
    """With `off`, which YAML reads as false, nobody is turned away."""
    off = dict.fromkeys(("per_key", "failed_auth_per_address", "publishable_per_address"), False)
    client = make_app(environment, limits=off).test_client()
    assert statuses(client, KEY, 70) == [200] * 70
    assert statuses(client, "lvk_wrong", 40) == [401] * 40
    assert statuses(client, PAGE_KEY, 40, Origin=PAGE) == [200] * 40


def test_an_address_cannot_use_up_what_a_pages_visitors_share(
    make_app: MakeApp, environment: dict[str, str]
) -> None:
    """Publishable keys count per address as well, before the key: who is past it costs others nothing."""
    limits = {"per_key": "5/minute", "publishable_per_address": "2/minute"}
    client = make_app(environment, limits=limits, http={"trusted_proxies": 1}).test_client()

    def ask(key: str, address: str, count: int) -> list[int]:
        return statuses(client, key, count, **{"Origin": PAGE, "X-Forwarded-For": address})

    assert ask(PAGE_KEY, "2001:db8::1", 2) == [200, 200]
    assert ask(PAGE_KEY, "2001:db8::2", 20) == [429] * 20, "the same /64"
    assert ask(PAGE_KEY, "1.1.1.1", 2) == [200, 200]
    assert ask(PAGE_KEY, "1.1.1.2", 2) == [200, 429], "the key's own rate"
    assert ask(KEY, "2001:db8::1", 3) == [200] * 3, "secret keys have no address"
    # An address has one count for all publishable keys.
    assert statuses(client, APP_KEY, 1, **{"X-Forwarded-For": "1.1.1.1"}) == [429]


def test_what_is_refused_before_does_not_count(make_app: MakeApp, environment: dict[str, str]) -> None:
    """Preflights and wrong origins use up nothing; wrong bodies do."""
    client = make_app(environment, limits={"publishable_per_address": "1/minute"}).test_client()
    preflight = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    assert [client.options(CALL, headers=preflight).status_code for _ in range(3)] == [204] * 3
    assert statuses(client, PAGE_KEY, 3, Origin="https://elsewhere.example") == [403] * 3
    headers = bearer(PAGE_KEY) | {"Origin": PAGE} | JSON
    assert [client.post(CALL, data=b"{", headers=headers).status_code for _ in range(2)] == [422, 429]


def redis_environment(environment: dict[str, str], server: RedisServer, rate: str) -> dict[str, str]:
    return environment | {"WEBCALL_LIMITS_STORAGE": server.uri, "WEBCALL_LIMIT_PER_KEY": rate}


def test_two_services_share_one_limit_in_redis(
    make_service: MakeService, environment: dict[str, str], redis_server: RedisServer
) -> None:
    """Of 40 calls at once at two services of two workers each, exactly the rate's 25 are placed."""
    chosen = redis_environment(environment, redis_server, "25/minute") | {"WEBCALL_WORKERS": "2"}
    services = [make_service(chosen) for _ in range(2)]

    def call(number: int) -> Answer:
        return send(services[number % 2].port, HELPER, bearer() | JSON)

    answers = at_once(40, call)
    assert sorted(answer.status for answer in answers) == [200] * 25 + [429] * 15
    for answer in answers:
        if answer.status == 429:
            assert 50 <= int(answer.headers["Retry-After"]) <= 60
    for service in services:
        assert b"limits storage" not in service.log.read_bytes()


def test_redis_says_when_to_come_back(
    make_app: MakeApp, environment: dict[str, str], redis_server: RedisServer
) -> None:
    """Retry-After is never too early and less than a second too late; what is kept goes by itself."""
    limits = {"per_key": "1 per 2 seconds", "storage_uri": redis_server.uri}
    client = make_app(environment, limits=limits).test_client()
    began = time.monotonic()
    assert statuses(client, KEY, 1) == [200]
    time.sleep(0.6)
    answer = client.get(LISTING, headers=bearer())
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "2")
    with redis_server.client() as kept:
        assert len(kept.keys()) == 1
        while kept.keys():
            assert time.monotonic() - began < 4
            time.sleep(0.01)
    assert time.monotonic() - began == pytest.approx(2, abs=0.3)
    assert statuses(client, KEY, 1) == [200]


def test_the_end_leaves_no_connection_to_redis(
    make_app: MakeApp, environment: dict[str, str], redis_server: RedisServer
) -> None:
    """The connections over which rates are counted are closed with all else."""
    with redis_server.client() as looking:

        def connected() -> set[str]:
            return {one["id"] for one in looking.client_list()}

        before = connected()
        app = make_app(environment, limits={"storage_uri": redis_server.uri})
        assert statuses(app.test_client(), KEY, 1) == [200]
        assert connected() - before
        app.extensions["webcall"].close()
        until = time.monotonic() + 20
        while connected() - before:
            assert time.monotonic() < until
            time.sleep(0.01)


def failures(port: int) -> float:
    text = get(port, "/metrics").body.decode()
    [line] = [line for line in text.splitlines() if line.startswith("webcall_limits_storage_failures_total")]
    return float(line.rpartition(" ")[2])


def outage_lines(service: Service) -> list[str]:
    lines = [json.loads(line) for line in service.log.read_text().splitlines() if line.startswith("{")]
    return [line["event"] for line in lines if line["event"].startswith("limits storage")]


@pytest.mark.parametrize("kind", ["gone", "silent"])
def test_an_outage_turns_no_call_away(
    make_service: MakeService, environment: dict[str, str], redis_outage: RedisServer, kind: str
) -> None:
    """With Redis gone or silent every call passes, and few wait for it; one line tells of it."""
    service = make_service(redis_environment(environment, redis_outage, "3/minute"))

    def call() -> int:
        return send(service.port, HELPER, bearer() | JSON).status

    assert [call() for _ in range(4)] == [200, 200, 200, 429]
    assert failures(service.port) == 0

    def in_outage() -> None:
        began = time.monotonic()
        assert [call() for _ in range(30)] == [200] * 30
        took = time.monotonic() - began
        # If each of them waited for Redis it would be fifteen seconds.
        assert took < 10 * storage.TIMEOUT_S
        assert outage_lines(service) == ["limits storage down"]
        assert failures(service.port) >= 30

    if kind == "silent":
        with redis_outage.frozen():
            in_outage()
    else:
        redis_outage.stop()
        in_outage()
        redis_outage.start()
    until = time.monotonic() + 20
    while call() != 429:
        assert time.monotonic() < until, "it never counts again"
        time.sleep(0.05)
    assert outage_lines(service) == ["limits storage down", "limits storage answers again"]
    assert redis_outage.uri.encode() not in service.log.read_bytes()


def test_an_outage_is_503_where_the_limits_are_required(
    make_app: MakeApp, environment: dict[str, str], redis_outage: RedisServer, fake_livekit: FakeLiveKit
) -> None:
    """With `limits.required` nobody passes uncounted: 503 with Retry-After, neither 401 nor 429 nor 500."""
    limits = {"storage_uri": redis_outage.uri, "required": True}
    client = make_app(environment, limits=limits).test_client()
    assert client.post(CALL, json=HELPER, headers=bearer()).status_code == 200
    redis_outage.stop()
    for key in (KEY, "lvk_wrong"):
        for _ in range(2):
            answer = client.post(CALL, json=HELPER, headers=bearer(key))
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
            assert answer.json is not None
            assert answer.json["success"] is False
    assert fake_livekit.count("CreateRoom") == 1


def test_a_restart_of_redis_is_no_outage(
    make_app: MakeApp,
    environment: dict[str, str],
    redis_outage: RedisServer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Connections that were closed meanwhile are made anew, without a line or a call uncounted."""
    limits = {"storage_uri": redis_outage.uri, "per_key": "2/minute"}
    client = make_app(environment, limits=limits).test_client()
    assert statuses(client, KEY, 3) == [200, 200, 429]
    redis_outage.stop()
    redis_outage.start()
    assert statuses(client, KEY, 3) == [200, 200, 429]
    assert "limits storage" not in capsys.readouterr().err
