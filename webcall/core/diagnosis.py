"""What `flask webcall check` looks at: each part of a deployment, what is wrong with it, and the fix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from webcall.config.telling import mistyped
from webcall.core.holdings import STORES, VALIDATORS, Finding, Side, has_publishable_key, look_at_records
from webcall.core.places import look_at_places
from webcall.core.reachability import look_at_addresses
from webcall.core.services import Services
from webcall.core.storage import LimitsStorage, in_memory
from webcall.core.watch.diagnosing import look_at_watcher
from webcall.core.worker_here import look_at_worker
from webcall.errors import BackendError, LiveKitError, WebCallError
from webcall.interfaces import Pings, Prepares
from webcall.startup import Chosen

_CLOCK_TOLERANCE_S = 30

# Settings that tell where a side keeps its records. No others are shown: a URI may hold a password.
_PLACES = {VALIDATORS: ("database",), STORES: ("database", "assistants")}

_TAKE_REDIS = "set limits.storage_uri (WEBCALL_LIMITS_STORAGE) to a Redis, such as redis://127.0.0.1:6379/0"

_LIVEKIT_FIXES = {
    "unreachable": "is LiveKit running, and is livekit.url (LIVEKIT_URL) its address as seen from here?",
    "tls": "livekit.url says wss or https: take ws or http for a plain port, or replace the certificate",
    "timeout": "look at LiveKit and the way to it: a firewall, an overload, a name server that is silent?",
    "unauthorized": "livekit.api_key and livekit.api_secret have to be a pair of LiveKit's own configuration "
    "(`keys:`), and the clocks have to agree to within a minute",
    "refused": "is livekit.url the address of a LiveKit server, without a path?",
    "answer": "is livekit.url the address of a LiveKit server, and of nothing in front of it?",
    "broken": "does livekit.url say ws or http where the port speaks TLS?",
}


def diagnose(services: Services, assistant_id: str | None = None) -> Iterator[Finding]:
    """Yield findings: settings, backends, what they hold, addresses, limits, LiveKit, watcher, worker.

    With `assistant_id`, tell of each store whether it has that assistant, too.
    """
    yield Finding("settings", "ok", "all settings and plugins are good")
    reading = services.setup.reading
    for name, meant in mistyped(reading).items() if reading else ():
        told = f"the variable {name} is none of config.yaml's; did you mean {meant}, which is not set?"
        yield Finding("settings", "warning", told)
    answering: list[Side] = []
    for kind, chosen, make in (
        (VALIDATORS, services.setup.validators, services.validators),
        (STORES, services.setup.stores, services.stores),
    ):
        try:
            made = make()
        except BackendError as error:
            yield Finding(kind, "failed", str(error), "look at the settings under backends")
            continue
        for side in _sides(kind, chosen, made):
            findings = list(_backend(side))
            yield from findings
            if all(finding.status != "failed" for finding in findings):
                answering.append(side)
    kinds = [side.kind for side in answering]
    records = look_at_records(
        answering,
        assistant_id,
        all_keys=kinds.count(VALIDATORS) == len(services.setup.validators),
        all_assistants=kinds.count(STORES) == len(services.setup.stores),
    )
    yield from _guarded("API keys and assistants", records)
    yield from look_at_addresses(services.config)
    yield from look_at_places(services.config, publishable=_has_publishable(answering))
    yield from _limits(services)
    yield from _livekit(services)
    yield from look_at_watcher(services.config)
    yield from look_at_worker(services.config)


def _sides(kind: str, chosen: tuple[Chosen, ...], made: Any) -> Iterator[Side]:
    for one, (name, backend) in zip(chosen, made, strict=True):
        places = [(setting, one.settings.get(setting)) for setting in _PLACES[kind]]
        told = ", ".join(f"{setting} {value}" for setting, value in places if isinstance(value, str))
        yield Side(kind, name, backend, told)


def _has_publishable(sides: list[Side]) -> bool:
    try:
        return has_publishable_key(sides)
    except Exception:
        return False  # the records' own findings tell of it


def _guarded(part: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """Yield the findings, and what stops them as a finding of its own."""
    try:
        yield from findings
    except Exception as error:
        # A backend's own errors are written for the operator; others may quote what they were given.
        told = str(error) if isinstance(error, WebCallError) else type(error).__name__
        yield Finding(part, "failed", told, "the backend's settings are under `backends`")


def _backend(side: Side) -> Iterator[Finding]:
    reason, missing = None, []
    try:
        if isinstance(side.backend, Pings):
            reason = side.backend.ping()
        if isinstance(side.backend, Prepares):
            missing = side.backend.unprepared()
    except Exception as error:
        told = str(error) if isinstance(error, WebCallError) else type(error).__name__
        if isinstance(error, BackendError) and error.fix:
            yield Finding(side.part, "failed", f"cannot be used: {told}", error.fix)
        else:
            fix = f"is it running, and are the settings under backends.{side.name} right?"
            yield Finding(side.part, "failed", f"does not answer: {told}", fix)
        return
    if reason:
        yield Finding(side.part, "warning", reason)
    if missing:
        where = f" ({side.place})" if side.place else ""
        fix = f"run `flask webcall {side.name} init`, if these are the right names: backends.{side.name}"
        yield Finding(side.part, "warning", f"not prepared{where}: {'; '.join(missing)}", fix)
    if not reason and not missing:
        yield Finding(side.part, "ok", "answers" if isinstance(side.backend, Pings) else "is there")


def _limits(services: Services) -> Iterator[Finding]:
    config = services.config
    limits, workers = config.limits, config.http.workers
    if workers > 1 and in_memory(limits.storage_uri) and services.ledger is not None:
        yield Finding(
            "observers",
            "warning",
            f"the end of a call may reach one of the {workers} processes that does not know the call, and is "
            "then told late, as unknown",
            _TAKE_REDIS,
        )
    if in_memory(limits.storage_uri):
        if workers > 1:
            yield Finding(
                "limits",
                "warning",
                f"each of the {workers} worker processes counts for itself",
                _TAKE_REDIS,
            )
        else:
            yield Finding("limits", "ok", "counted in the memory of the one worker process")
        return
    storage = LimitsStorage(limits.storage_uri, required=True)
    try:
        storage.ping()
    except Exception as error:
        told = f"{storage.place} does not answer: {type(error).__name__}"
        fix = "is Redis running, and is limits.storage_uri (WEBCALL_LIMITS_STORAGE) its address?"
        yield Finding("limits", "failed", told, fix)
        return
    yield Finding("limits", "ok", f"{storage.place} answers")


def _livekit(services: Services) -> Iterator[Finding]:
    config = services.config.livekit
    if config.previous_api_key:
        yield Finding(
            "livekit",
            "warning",
            "events signed with the previous key are taken, too",
            "when LiveKit does not know that key any more, empty livekit.previous_api_key and "
            "livekit.previous_api_secret: docs/security.md",
        )
    try:
        found = services.livekit.look_around()
    except LiveKitError as error:
        yield Finding(
            "livekit",
            "failed",
            f"{config.url}: {error}",
            _LIVEKIT_FIXES.get(error.kind, _LIVEKIT_FIXES["answer"]),
        )
        return
    yield Finding("livekit", "ok", f"{config.url} answers and accepts the API key")
    if found.makes_rooms_on_joining:
        yield Finding(
            "livekit",
            "warning",
            "makes rooms on joining: who joins late or comes back is alone in a room without an assistant",
            "set `room: {auto_create: false}` in LiveKit's configuration",
        )
    if abs(found.clock_ahead_s) > _CLOCK_TOLERANCE_S:
        yield Finding(
            "livekit",
            "warning",
            f"its clock is {found.clock_ahead_s:+.0f} s off this machine's; tokens have 60 s of leeway",
            "synchronise both clocks",
        )
