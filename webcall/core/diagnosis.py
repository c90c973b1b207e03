"""What `flask webcall check` looks at: each part of a deployment, what is wrong with it, and the mend."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from webcall.core.definitions import Stores, check_definition, list_definitions
from webcall.core.keys import list_keys
from webcall.core.services import Services
from webcall.errors import BackendError, LiveKitError, WebCallError
from webcall.interfaces import ListsAssistants, ListsKeys, Pings, Prepares

Status = Literal["ok", "warning", "failed"]

# Enough to find a mistake in; a store may hold a million.
_LOOKED_AT = 1000

_LIVEKIT_MENDS = {
    "unreachable": "is LiveKit running, and is livekit.url (LIVEKIT_URL) its address as seen from here?",
    "tls": "livekit.url says wss or https: take ws or http for a plain port, or mend the certificate",
    "timeout": "something takes connections at livekit.url and does not answer: a firewall, an overload?",
    "unauthorized": "livekit.api_key and livekit.api_secret have to be a pair of LiveKit's own configuration "
    "(`keys:`); a clock that is wrong by over a minute looks the same",
    "refused": "is livekit.url the address of a LiveKit server, without a path?",
    "answer": "is livekit.url the address of a LiveKit server?",
    "broken": "does livekit.url say ws or http where the port speaks TLS?",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `mend` says what to do about it."""

    part: str
    status: Status
    message: str
    mend: str = ""


def diagnose(services: Services, assistant_id: str | None = None) -> Iterator[Finding]:
    """Yield a finding for settings, each backend, what they hold, and LiveKit, in that order.

    With `assistant_id`, tell of each store whether it has that assistant, too.
    """
    yield Finding("settings", "ok", "all settings and plugins are good")
    sides: list[tuple[str, str, Any]] = []
    for kind, chosen in (("auth.validators", services.validators), ("assistants.stores", services.stores)):
        try:
            sides += [(kind, name, backend) for name, backend in chosen()]
        except BackendError as error:
            yield Finding(kind, "failed", str(error))
    answering = []
    for kind, name, backend in sides:
        findings = list(_backend(kind, name, backend))
        yield from findings
        if all(finding.status != "failed" for finding in findings):
            answering.append((kind, name, backend))
    yield from _holdings(answering, assistant_id)
    yield from _livekit(services)


def _backend(kind: str, name: str, backend: Any) -> Iterator[Finding]:
    part = f"{kind}: {name}"
    reason = None
    try:
        if isinstance(backend, Pings):
            reason = backend.ping()
        missing = backend.unprepared() if isinstance(backend, Prepares) else []
    except Exception as error:
        # A backend's own errors are written for the operator; others may quote what they were given.
        told = str(error) if isinstance(error, WebCallError) else type(error).__name__
        yield Finding(part, "failed", f"does not answer: {told}", f"look at backends.{name}")
        return
    if reason:
        yield Finding(part, "warning", reason)
    if missing:
        yield Finding(
            part, "warning", "not prepared: " + "; ".join(missing), f"run `flask webcall {name} init`"
        )
    if not reason and not missing:
        yield Finding(part, "ok", "answers")


def _holdings(sides: list[tuple[str, str, Any]], assistant_id: str | None) -> Iterator[Finding]:
    validators = [(name, backend) for kind, name, backend in sides if kind == "auth.validators"]
    stores = [(name, backend) for kind, name, backend in sides if kind == "assistants.stores"]
    keys = list(islice(list_keys(validators), _LOOKED_AT))
    if not keys and all(isinstance(validator, ListsKeys) for _, validator in validators):
        yield Finding(
            "API keys", "warning", "there are none", "run `flask webcall keys create --owner EMAIL`"
        )
    plain = sum(1 for entry in keys if entry.record.get("api_key") and entry.backend != "env")
    if plain:
        mend = "run `flask webcall keys hash-plain`"
        yield Finding("API keys", "warning", f"{plain} stored in plain text", mend)
    unusable = [entry.id for entry in keys if entry.state == "unusable"]
    if unusable:
        yield Finding("API keys", "failed", f"unusable records: {', '.join(unusable[:5])}")
    if all(isinstance(store, ListsAssistants) for _, store in stores):
        yield from _assistants(stores, keys)
    if assistant_id is not None:
        yield from _one_assistant(stores, assistant_id)


def _assistants(stores: Stores, keys: list[Any]) -> Iterator[Finding]:
    definitions = list(islice(list_definitions(stores), _LOOKED_AT))
    if not definitions:
        mend = "run `flask webcall assistants put FILE`"
        yield Finding("assistants", "warning", "no store has an assistant", mend)
        return
    for backend, record in definitions:
        faults = check_definition(record).faults
        if faults:
            name = record.get("assistant_id") if isinstance(record, dict) else None
            yield Finding(f"assistant {name} in {backend}", "failed", "; ".join(faults))
    if len(definitions) < _LOOKED_AT:
        there = {record.get("assistant_id") for _, record in definitions}
        owners = {record.get("assistant_created_by_email") for _, record in definitions}
        for entry in keys:
            absent = sorted(set(entry.record.get("allowed_assistants") or ()) - there)
            if absent:
                yield Finding(
                    f"API key {entry.id}", "warning", f"lists assistants that no store has: {absent}"
                )
            elif entry.record.get("user_email") not in owners:
                yield Finding(f"API key {entry.id}", "warning", "its owner has no assistant in any store")


def _one_assistant(stores: Stores, assistant_id: str) -> Iterator[Finding]:
    for name, store in stores:
        part = f"assistant {assistant_id} in {name}"
        if not isinstance(store, ListsAssistants):
            yield Finding(part, "warning", "this backend cannot be listed")
        elif (record := store.find_assistant(assistant_id)) is None:
            yield Finding(part, "failed", "not there")
        else:
            owner = record.get("assistant_created_by_email")
            active = record.get("assistant_is_active", True)
            status: Status = "ok" if active else "failed"
            state = "active" if active else "inactive"
            yield Finding(part, status, f"{state}, its owner is {owner}: keys of others get a 404")


def _livekit(services: Services) -> Iterator[Finding]:
    config = services.config.livekit
    try:
        found = services.livekit.look_around()
    except LiveKitError as error:
        yield Finding("livekit", "failed", f"{config.url}: {error}", _LIVEKIT_MENDS[error.kind])
        return
    yield Finding("livekit", "ok", f"{config.url} answers and accepts the API key")
    if found.makes_rooms_on_joining:
        yield Finding(
            "livekit",
            "warning",
            "makes rooms on joining: who joins late or comes back is alone in a room without an assistant",
            "set `room: {auto_create: false}` in LiveKit's configuration",
        )
    if abs(found.clock_ahead_s) > 30:
        yield Finding(
            "livekit",
            "warning",
            f"its clock is {found.clock_ahead_s:.0f} s ahead of this machine's; tokens have 60 s of leeway",
            "synchronise both clocks",
        )
