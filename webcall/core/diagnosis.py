"""What `flask webcall check` looks at: each part of a deployment, what is wrong with it, and the mend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from webcall.core.definitions import check_definition, list_definitions
from webcall.core.keys import KeyEntry, list_keys
from webcall.core.services import Services
from webcall.errors import BackendError, LiveKitError, WebCallError
from webcall.interfaces import ListsAssistants, ListsKeys, ManagesKeys, Pings, Prepares, Record
from webcall.startup import Chosen

Status = Literal["ok", "warning", "failed"]

VALIDATORS, STORES = "auth.validators", "assistants.stores"

# Enough to find a mistake in; a store may hold a million.
_LOOKED_AT = 1000
_LINES_OF_A_KIND = 5
_CLOCK_TOLERANCE_S = 30

# Settings that tell where a side keeps its records. No others are shown: a URI may hold a password.
_PLACES = {VALIDATORS: ("database",), STORES: ("database", "assistants")}

_LIVEKIT_MENDS = {
    "unreachable": "is LiveKit running, and is livekit.url (LIVEKIT_URL) its address as seen from here?",
    "tls": "livekit.url says wss or https: take ws or http for a plain port, or mend the certificate",
    "timeout": "something takes connections at livekit.url and does not answer: a firewall, an overload?",
    "unauthorized": "livekit.api_key and livekit.api_secret have to be a pair of LiveKit's own configuration "
    "(`keys:`), and the clocks have to agree to within a minute",
    "refused": "is livekit.url the address of a LiveKit server, without a path?",
    "answer": "is livekit.url the address of a LiveKit server, and of nothing in front of it?",
    "broken": "does livekit.url say ws or http where the port speaks TLS?",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `mend` says what to do about it."""

    part: str
    status: Status
    message: str
    mend: str = ""


@dataclass(frozen=True)
class Side:
    """One backend in one of its two roles. `place` tells where it keeps its records, if it is known."""

    kind: str
    name: str
    backend: Any
    place: str

    @property
    def part(self) -> str:
        """What findings about it are headed."""
        return f"{self.kind}: {self.name}"


def diagnose(services: Services, assistant_id: str | None = None) -> Iterator[Finding]:
    """Yield a finding for settings, each backend, what they hold, and LiveKit, in that order.

    With `assistant_id`, tell of each store whether it has that assistant, too.
    """
    yield Finding("settings", "ok", "all settings and plugins are good")
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
    yield from _guarded("API keys and assistants", lambda: _holdings(services, answering, assistant_id))
    yield from _livekit(services)


def _sides(kind: str, chosen: tuple[Chosen, ...], made: Any) -> Iterator[Side]:
    for one, (name, backend) in zip(chosen, made, strict=True):
        places = [(setting, one.settings.get(setting)) for setting in _PLACES[kind]]
        told = ", ".join(f"{setting} {value}" for setting, value in places if isinstance(value, str))
        yield Side(kind, name, backend, told)


def _guarded(part: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Yield what `look` finds, and what stops it as a finding of its own."""
    try:
        yield from look()
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
        mend = f"is it running, and are the settings under backends.{side.name} right?"
        yield Finding(side.part, "failed", f"does not answer: {told}", mend)
        return
    if reason:
        yield Finding(side.part, "warning", reason)
    if missing:
        where = f" ({side.place})" if side.place else ""
        mend = f"run `flask webcall {side.name} init`, if these are the right names: backends.{side.name}"
        yield Finding(side.part, "warning", f"not prepared{where}: {'; '.join(missing)}", mend)
    if not reason and not missing:
        yield Finding(side.part, "ok", "answers" if isinstance(side.backend, Pings) else "is there")


def _holdings(services: Services, sides: list[Side], assistant_id: str | None) -> Iterator[Finding]:
    validators = [side for side in sides if side.kind == VALIDATORS]
    stores = [side for side in sides if side.kind == STORES]
    # With a backend that failed, "there is none" could not be told from "it does not answer".
    all_keys = len(validators) == len(services.setup.validators)
    all_assistants = len(stores) == len(services.setup.stores)
    pairs = [(side.name, side.backend) for side in validators]
    keys = list(islice(list_keys(pairs), _LOOKED_AT))
    if all_keys and all(isinstance(side.backend, ListsKeys) for side in validators):
        counts = Counter(entry.backend for entry in keys)
        mend = "run `flask webcall keys create --owner EMAIL`, or mend the settings under backends"
        yield _counted("API keys", validators, counts, len(keys), mend)
    yield from _keys(validators, keys)
    found = [(side.name, side.backend) for side in stores]
    definitions = list(islice(list_definitions(found), _LOOKED_AT))
    complete = all_assistants and all(isinstance(side.backend, ListsAssistants) for side in stores)
    if complete:
        counts = Counter(backend for backend, _ in definitions)
        mend = "run `flask webcall assistants put FILE`, or mend the settings under backends"
        yield _counted("assistants", stores, counts, len(definitions), mend)
    faulty = [(name, record, faults) for name, record in definitions if (faults := _faults(record))]
    yield from _some(
        "assistants",
        "failed",
        [f"{record.get('assistant_id')} in {name}: {faults}" for name, record, faults in faulty],
        "mend the definition: `flask webcall assistants check FILE` and then `put FILE`",
    )
    if complete and definitions and len(definitions) < _LOOKED_AT:
        yield from _together(keys, [record for _, record in definitions])
    if assistant_id is not None:
        yield from _one_assistant(stores, assistant_id, keys)


def _counted(what: str, sides: list[Side], counts: Counter[str], total: int, mend: str) -> Finding:
    more = " or more" if total == _LOOKED_AT else ""
    told = "; ".join(
        f"{counts[side.name]} in {side.name}" + (f" ({side.place})" if side.place else "") for side in sides
    )
    if total:
        return Finding(what, "ok", f"{told}{more}")
    return Finding(what, "warning", f"there are none: {told}", mend)


def _some(part: str, status: Status, lines: list[str], mend: str) -> Iterator[Finding]:
    for line in lines[:_LINES_OF_A_KIND]:
        yield Finding(part, status, line, mend)
    if len(lines) > _LINES_OF_A_KIND:
        yield Finding(part, status, f"and {len(lines) - _LINES_OF_A_KIND} more like these", mend)


def _faults(record: Record) -> str:
    return "; ".join(check_definition(record).faults)


def _keys(validators: list[Side], keys: list[KeyEntry]) -> Iterator[Finding]:
    can_write = {side.name for side in validators if isinstance(side.backend, ManagesKeys)}
    plain = sum(1 for entry in keys if entry.record.get("api_key") and entry.backend in can_write)
    if plain:
        mend = "run `flask webcall keys hash-plain`"
        yield Finding("API keys", "warning", f"{plain} stored in plain text", mend)
    for state, status, mend in (
        ("unusable", "failed", "mend the records: user_email and api_key_hash are needed, in their types"),
        ("unsupported", "warning", "it is refused: this version knows no origins and no publishable keys"),
    ):
        lines = [f"{entry.id} in {entry.backend}: {state} record" for entry in keys if entry.state == state]
        yield from _some("API keys", status, lines, mend)  # type: ignore[arg-type]  # a Status by the table


def _together(keys: list[KeyEntry], definitions: list[Record]) -> Iterator[Finding]:
    """Look for keys that fit no assistant."""
    there = {record.get("assistant_id") for record in definitions}
    owners = {record.get("assistant_created_by_email") for record in definitions}
    active = [entry for entry in keys if entry.state == "active"]
    lost = [entry for entry in active if entry.record.get("user_email") not in owners]
    lines = [
        f"{entry.id}: its owner {entry.record.get('user_email')} has no assistant, so that calls get a 404"
        for entry in lost
    ]
    mend = "user_email of a key and assistant_created_by_email of an assistant have to be the same"
    yield from _some("API keys", "warning", lines, mend)
    lines = [
        f"{entry.id}: lists assistants that no store has: {', '.join(absent)}"
        for entry in active
        if (absent := sorted(set(entry.record.get("allowed_assistants") or ()) - there))
    ]
    yield from _some("API keys", "warning", lines, "mend its allowed_assistants, or store the assistants")


def _one_assistant(stores: list[Side], assistant_id: str, keys: list[KeyEntry]) -> Iterator[Finding]:
    part = f"assistant {assistant_id}"
    able = [side for side in stores if isinstance(side.backend, ListsAssistants)]
    found = [(side, record) for side in able if (record := side.backend.find_assistant(assistant_id))]
    for side, record in found:
        owner = record.get("assistant_created_by_email")
        faults = _faults(record)
        if faults:
            yield Finding(part, "failed", f"in {side.name}, and cannot be used: {faults}", "mend it")
        elif not record.get("assistant_is_active", True):
            yield Finding(part, "failed", f"in {side.name}, inactive", "set assistant_is_active to true")
        else:
            told = f"in {side.name}, active, its owner is {owner}: keys of others get a 404"
            yield Finding(part, "ok", told)
        if len(keys) < _LOOKED_AT and not any(_may_call(entry, assistant_id, owner) for entry in keys):
            mend = f"run `flask webcall keys create --owner {owner}`"
            yield Finding(part, "warning", "no active API key may call it", mend)
    if not found:
        asked = ", ".join(f"{side.name} ({side.place})" if side.place else side.name for side in able)
        mend = "run `flask webcall assistants list` for those that are there"
        yield Finding(part, "failed", f"no store has it; asked: {asked or 'none'}", mend)


def _may_call(entry: KeyEntry, assistant_id: str, owner: object) -> bool:
    allowed = entry.record.get("allowed_assistants")
    listed = allowed is None or assistant_id in allowed
    return entry.state == "active" and entry.record.get("user_email") == owner and listed


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
    if abs(found.clock_ahead_s) > _CLOCK_TOLERANCE_S:
        yield Finding(
            "livekit",
            "warning",
            f"its clock is {found.clock_ahead_s:+.0f} s off this machine's; tokens have 60 s of leeway",
            "synchronise both clocks",
        )
