"""What `check` says of backends that lack an optional side, and of many faults at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tests.support.deployment import MakeApp
from tests.support.programs import free_port
from tests.support.redis import RedisServer
from webcall import Backend, BackendError, hookimpl
from webcall.core.diagnosis import diagnose
from webcall.core.holdings import Finding

Diagnose = Callable[..., list[Finding]]
BUILT_IN = ("plugins.env", "plugins.file", "plugins.mongo", "plugins.sql", "plugins.jwt", "plugins.http")


class Mute:
    """A validator and store that answers and can neither be listed nor asked how it is."""

    def validate(self, api_key: str) -> None:
        return None

    def get(self, assistant_id: str, caller: Any) -> None:
        return None


class Degraded(Mute):
    """One that can only just be done with."""

    def ping(self) -> str:
        return "serves what it read yesterday"


class Quoting(Mute):
    """One whose errors quote what they were given."""

    def ping(self) -> str:
        raise ValueError("canary")


def fails(_: dict[str, Any]) -> Any:
    """Fail as a factory does that cannot find its driver."""
    raise BackendError("the driver is missing")


def fails_oddly(_: dict[str, Any]) -> Any:
    """Fail with an error that quotes its settings."""
    raise KeyError("canary")


@pytest.fixture
def findings(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> Diagnose:
    """Diagnose a deployment whose validator and store `factory` makes, by `check`'s own function."""

    def run(
        factory: Callable[[dict[str, Any]], Any] | None, *arguments: str, **records: Any
    ) -> list[Finding]:
        offered = [Backend("own", "of the test", None, factory)] if factory else []
        plugin = ModuleType("plugin_of_the_test")
        plugin.webcall_key_validators = hookimpl(lambda: offered, specname="webcall_key_validators")  # type: ignore[attr-defined]
        plugin.webcall_assistant_stores = hookimpl(lambda: offered, specname="webcall_assistant_stores")  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, plugin.__name__, plugin)
        name = "own" if factory else "env"
        environment = {
            "LIVEKIT_URL": f"ws://127.0.0.1:{free_port()}",
            "LIVEKIT_API_KEY": "APItest",
            "LIVEKIT_API_SECRET": "s" * 40,
            "WEBCALL_VALIDATORS": name,
            "WEBCALL_STORES": name,
        } | {variable: json.dumps(value) for variable, value in records.items()}
        app = make_app(environment, plugins=[*BUILT_IN, plugin.__name__])
        found = list(diagnose(app.extensions["webcall"], *arguments))
        assert "canary" not in repr(found)
        # LiveKit is not there, and is still looked at behind everything else.
        around = [found[0].part, *(one.part for one in found[-5:])]
        assert around == ["settings", "public addresses", "limits", "livekit", "watch", "worker"]
        return found[1:-5]

    return run


def test_a_backend_without_the_optional_sides(findings: Diagnose) -> None:
    """A backend that cannot be listed is there, and nobody claims that it is empty."""
    found = findings(lambda _: Mute())
    assert [(one.part, one.status, one.message) for one in found] == [
        ("auth.validators: own", "ok", "is there"),
        ("assistants.stores: own", "ok", "is there"),
        ("API keys", "ok", "own cannot list its own"),
    ]


def test_an_assistant_that_cannot_be_looked_for(findings: Diagnose) -> None:
    """Where no store can be listed, --assistant says that none could be asked."""
    told = findings(lambda _: Mute(), "helper")[-1]
    assert (told.part, told.status) == ("assistant helper", "failed")
    assert told.message == "no store has it; asked: none"


def test_a_degraded_backend(findings: Diagnose) -> None:
    """A reason that ping gives is a warning."""
    sides = findings(lambda _: Degraded())[:2]
    assert [(one.status, one.message) for one in sides] == [("warning", "serves what it read yesterday")] * 2


def test_an_error_that_quotes_is_named_by_its_type(findings: Diagnose) -> None:
    """Of an error that is none of the service's own, the type is told and not the text."""
    for one in findings(lambda _: Quoting()):
        assert (one.status, one.message) == ("failed", "does not answer: ValueError")
        assert "backends.own" in one.fix


@pytest.mark.parametrize(
    ("factory", "told"), [(fails, "the driver is missing"), (fails_oddly, "own: KeyError")]
)
def test_a_backend_that_cannot_be_made(findings: Diagnose, factory: Any, told: str) -> None:
    """A factory that fails is a finding, and nothing is said of records that could not be read."""
    assert [(one.part, one.status, one.message) for one in findings(factory)] == [
        ("auth.validators", "failed", told),
        ("assistants.stores", "failed", told),
    ]


def test_many_faults_of_a_kind_are_summed_up(findings: Diagnose) -> None:
    """Five lines of a kind are shown, and the others are counted."""
    broken = [
        {"assistant_id": f"a{number}", "assistant_created_by_email": "ada", "assistant_prompt": "{{#x}}"}
        for number in range(8)
    ]
    found = findings(None, WEBCALL_ASSISTANTS=broken)
    failed = [one for one in found if one.status == "failed"]
    assert [one.message.split(" in ")[0] for one in failed] == [
        "a0",
        "a1",
        "a2",
        "a3",
        "a4",
        "and 3 more like these",
    ]
    assert "flask webcall assistants check" in failed[0].fix


def test_a_large_store_is_looked_at_in_part(findings: Diagnose) -> None:
    """Of a large store the first thousand records are looked at, and nothing is concluded from the rest."""
    many = [{"assistant_id": f"a{number}", "assistant_created_by_email": "ada"} for number in range(1001)]
    keys = [{"api_key_hash": "0" * 64, "user_email": "nobody"}]
    found = findings(None, WEBCALL_ASSISTANTS=many, WEBCALL_API_KEYS=keys)
    assert ("assistants", "ok", "1000 in env or more") in [
        (one.part, one.status, one.message) for one in found
    ]
    assert not [one for one in found if "nobody" in one.message]


def limits_of(make_app: MakeApp, **sections: Any) -> tuple[str, str, str]:
    environment = {
        "LIVEKIT_URL": f"ws://127.0.0.1:{free_port()}",
        "LIVEKIT_API_KEY": "APItest",
        "LIVEKIT_API_SECRET": "s" * 40,
    }
    found = diagnose(make_app(environment, **sections).extensions["webcall"])
    [one] = [one for one in found if one.part == "limits"]
    return one.status, one.message, one.fix or ""


def test_where_limits_are_counted(make_app: MakeApp, redis_server: RedisServer) -> None:
    """Memory is fine for one process, a warning for several; a Redis is told of without its password."""
    assert limits_of(make_app)[0] == "ok"
    status, message, fix = limits_of(make_app, http={"workers": 3})
    assert (status, message) == ("warning", "each of the 3 worker processes counts for itself")
    assert "redis://" in fix
    several = {"http": {"workers": 3}}
    there = limits_of(make_app, limits={"storage_uri": redis_server.uri}, **several)
    assert there == ("ok", f"127.0.0.1:{redis_server.port} answers", "")
    gone = limits_of(make_app, limits={"storage_uri": "redis://user:canary@127.0.0.1:9/0"})
    assert gone[:2] == ("failed", "127.0.0.1:9 does not answer: ConnectionError")
    assert "canary" not in str(gone)


def warnings_of(make_app: MakeApp, records: dict[str, str] | None = None, **sections: Any) -> list[str]:
    environment = {
        "LIVEKIT_URL": f"ws://127.0.0.1:{free_port()}",
        "LIVEKIT_API_KEY": "APItest",
        "LIVEKIT_API_SECRET": "s" * 40,
    }
    found = diagnose(make_app(environment | (records or {}), **sections).extensions["webcall"])
    warnings = [one for one in found if one.status == "warning" and one.part in ("limits", "observers")]
    assert all(one.fix for one in warnings)
    return [f"{one.part}: {one.message}" for one in warnings]


def test_calls_that_wait_and_a_worker_that_counts_cores(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that takes what its cores allow may be too small for publishable keys, and for those alone."""
    key = {"api_key_hash": "0" * 64, "user_email": "ada", "allowed_assistants": ["helper"]}
    page = key | {"api_key_prefix": "lvp_Ab3dEf9h", "allowed_origins": ["https://www.example.com"]}

    def told(record: dict[str, Any], cores: str) -> list[str]:
        monkeypatch.setenv("NUM_CPUS", cores)
        in_use = {"WEBCALL_VALIDATORS": "env", "WEBCALL_STORES": "env"}
        records = in_use | {"WEBCALL_API_KEYS": json.dumps([record])}
        return warnings_of(make_app, records, worker={"metrics_port": 0})

    [warning] = told(page, "2")
    assert "10 calls wait, which take all 8 places that a worker would have with the 2 cores" in warning
    assert told(page, "3") == []
    assert told(key, "2") == []
    assert told(page | {"is_active": False}, "2") == []


def test_ends_of_calls_in_several_processes(make_app: MakeApp, redis_server: RedisServer) -> None:
    """Where a plugin is told of the end of calls, memory is a warning for several processes."""
    audit = {"plugins": [*BUILT_IN, "plugins.audit"]}

    def told(**sections: Any) -> bool:
        return any(one.startswith("observers: the end") for one in warnings_of(make_app, **sections))

    assert told(http={"workers": 2}, **audit)
    assert not told(http={"workers": 2})
    assert not told(http={"workers": 1}, **audit)
    assert not told(http={"workers": 2}, limits={"storage_uri": redis_server.uri}, **audit)


def test_a_rate_that_cannot_be_read(findings: Diagnose) -> None:
    """A key's rate_limit that is none is a warning with a right one."""
    keys = [
        {"api_key_hash": f"{n:064}", "user_email": "ada", "rate_limit": r}
        for n, r in enumerate(("often", "5/day"))
    ]
    [told] = [one for one in findings(None, WEBCALL_API_KEYS=keys) if "rate_limit" in one.message]
    assert told.status == "warning"
    assert "not a rate such as 60/minute" in told.message
