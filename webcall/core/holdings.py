"""What the backends hold, for `flask webcall check`: how much, what is faulty, what does not fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from webcall.core.definitions import check_definition, list_definitions
from webcall.core.keys import KeyEntry, list_keys
from webcall.core.permissions import PUBLISHABLE_NEEDS
from webcall.interfaces import ListsAssistants, ListsKeys, ManagesKeys, Record
from webcall.origins import origin_pattern
from webcall.rates import OFF, parse_rate
from webcall.records import caller_from_record

Status = Literal["ok", "warning", "failed"]

VALIDATORS, STORES = "auth.validators", "assistants.stores"


# Enough to find a mistake in; a store may hold a million.
_LOOKED_AT = 1000
_LINES_OF_A_KIND = 5


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `fix` says what to do about it."""

    part: str
    status: Status
    message: str
    fix: str = ""


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


def look_at_records(
    sides: list[Side], assistant_id: str | None, *, all_keys: bool, all_assistants: bool
) -> Iterator[Finding]:
    """Yield what there is to say of the records of these backends, and of one assistant if it is given.

    `all_keys` and `all_assistants` tell whether these are all the backends of their kind that are in
    use: else "there is none" could not be told from "it does not answer". Raises as the backends do.
    """
    validators = [side for side in sides if side.kind == VALIDATORS]
    stores = [side for side in sides if side.kind == STORES]
    pairs = [(side.name, side.backend) for side in validators]
    keys = list(islice(list_keys(pairs), _LOOKED_AT))
    if all_keys and all(isinstance(side.backend, ListsKeys) for side in validators):
        counts = Counter(entry.backend for entry in keys)
        fix = "run `flask webcall keys create --owner EMAIL`, or fix the settings under backends"
        yield _counted("API keys", validators, counts, len(keys), fix)
    elif all_keys:
        counts = Counter(entry.backend for entry in keys)
        told = "; ".join(
            f"{counts[side.name]} in {side.name}"
            if isinstance(side.backend, ListsKeys)
            else f"{side.name} cannot list its own"
            for side in validators
        )
        yield Finding("API keys", "ok", told)
    yield from _keys(validators, keys)
    found = [(side.name, side.backend) for side in stores]
    definitions = list(islice(list_definitions(found), _LOOKED_AT))
    complete = all_assistants and all(isinstance(side.backend, ListsAssistants) for side in stores)
    if complete:
        counts = Counter(backend for backend, _ in definitions)
        fix = "run `flask webcall assistants put FILE`, or fix the settings under backends"
        yield _counted("assistants", stores, counts, len(definitions), fix)
    faulty = [(name, record, faults) for name, record in definitions if (faults := _faults(record))]
    yield from _some(
        "assistants",
        "failed",
        [f"{record.get('assistant_id')} in {name}: {faults}" for name, record, faults in faulty],
        "fix the definition: `flask webcall assistants check FILE` and then `put FILE`",
    )
    if complete and definitions and len(definitions) < _LOOKED_AT:
        yield from _together(keys, [record for _, record in definitions])
    if assistant_id is not None:
        yield from _one_assistant(stores, assistant_id, keys)


def has_publishable_key(sides: list[Side]) -> bool:
    """Tell whether one of the keys that are looked at works and is publishable. Raises as backends do."""
    pairs = [(side.name, side.backend) for side in sides if side.kind == VALIDATORS]
    return any(
        entry.state == "active" and caller_from_record(entry.record).publishable
        for entry in islice(list_keys(pairs), _LOOKED_AT)
    )


def _counted(what: str, sides: list[Side], counts: Counter[str], total: int, fix: str) -> Finding:
    more = " or more" if total == _LOOKED_AT else ""
    told = "; ".join(
        f"{counts[side.name]} in {side.name}" + (f" ({side.place})" if side.place else "") for side in sides
    )
    if total:
        return Finding(what, "ok", f"{told}{more}")
    return Finding(what, "warning", f"there are none: {told}", fix)


def _some(part: str, status: Status, lines: list[str], fix: str) -> Iterator[Finding]:
    for line in lines[:_LINES_OF_A_KIND]:
        yield Finding(part, status, line, fix)
    if len(lines) > _LINES_OF_A_KIND:
        yield Finding(part, status, f"and {len(lines) - _LINES_OF_A_KIND} more like these", fix)


def _faults(record: Record) -> str:
    return "; ".join(check_definition(record).faults)


def _keys(validators: list[Side], keys: list[KeyEntry]) -> Iterator[Finding]:
    can_write = {side.name for side in validators if isinstance(side.backend, ManagesKeys)}
    plain = sum(1 for entry in keys if entry.record.get("api_key") and entry.backend in can_write)
    if plain:
        fix = "run `flask webcall keys hash-plain`"
        yield Finding("API keys", "warning", f"{plain} stored in plain text", fix)
    unusable = [
        f"{entry.id} in {entry.backend}: unusable record" for entry in keys if entry.state == "unusable"
    ]
    fix = f"fix the records: user_email and api_key_hash are needed, in their types; {PUBLISHABLE_NEEDS}"
    yield from _some("API keys", "failed", unusable, fix)
    lines = [
        f"{entry.id} in {entry.backend}: {fault}"
        for entry in keys
        if entry.state == "active" and (fault := _fault_in_origins(entry.record))
    ]
    yield from _some("API keys", "warning", lines, "such an origin matches no page: fix allowed_origins")

    lines = [
        f"{entry.id} in {entry.backend}: its rate_limit is {fault}"
        for entry in keys
        if entry.state == "active" and (fault := _fault_in_rate(entry.record))
    ]
    yield from _some("API keys", "warning", lines, "fix rate_limit: until then limits.per_key holds for it")


def _fault_in_origins(record: Record) -> str:
    for position, text in enumerate(record.get("allowed_origins") or (), start=1):
        try:
            origin_pattern(text)
        except ValueError as error:
            return f"number {position} of its allowed_origins {error}"
    return ""


def _fault_in_rate(record: Record) -> str:
    try:
        parse_rate(record.get("rate_limit") or OFF)
    except ValueError as error:
        return str(error)
    return ""


def _together(keys: list[KeyEntry], definitions: list[Record]) -> Iterator[Finding]:
    """Look for keys that fit no assistant."""
    # Text alone: a document of somebody else's making may have anything there.
    there = {str(record.get("assistant_id")) for record in definitions}
    owners = {str(record.get("assistant_created_by_email")) for record in definitions}
    active = [entry for entry in keys if entry.state == "active"]
    lost = [entry for entry in active if entry.record.get("user_email") not in owners]
    lines = [
        f"{entry.id}: its owner {entry.record.get('user_email')} has no assistant, so that calls get a 404"
        for entry in lost
    ]
    fix = "user_email of a key and assistant_created_by_email of an assistant have to be the same"
    yield from _some("API keys", "warning", lines, fix)
    lines = [
        f"{entry.id}: lists assistants that no store has: {', '.join(absent)}"
        for entry in active
        if (absent := sorted(set(entry.record.get("allowed_assistants") or ()) - there))
    ]
    yield from _some("API keys", "warning", lines, "fix its allowed_assistants, or store the assistants")


def _one_assistant(stores: list[Side], assistant_id: str, keys: list[KeyEntry]) -> Iterator[Finding]:
    part = f"assistant {assistant_id}"
    able = [side for side in stores if isinstance(side.backend, ListsAssistants)]
    found = [(side, record) for side in able if (record := side.backend.find_assistant(assistant_id))]
    for side, record in found:
        owner = record.get("assistant_created_by_email")
        faults = _faults(record)
        if faults:
            yield Finding(part, "failed", f"in {side.name}, and cannot be used: {faults}", "fix it")
        elif not record.get("assistant_is_active", True):
            yield Finding(part, "failed", f"in {side.name}, inactive", "set assistant_is_active to true")
        else:
            told = f"in {side.name}, active, its owner is {owner}: keys of others get a 404"
            yield Finding(part, "ok", told)
        if len(keys) < _LOOKED_AT and not any(_may_call(entry, assistant_id, owner) for entry in keys):
            fix = f"run `flask webcall keys create --owner {owner}`"
            yield Finding(part, "warning", "no active API key may call it", fix)
    if not found:
        asked = ", ".join(f"{side.name} ({side.place})" if side.place else side.name for side in able)
        fix = "run `flask webcall assistants list` for those that are there"
        yield Finding(part, "failed", f"no store has it; asked: {asked or 'none'}", fix)


def _may_call(entry: KeyEntry, assistant_id: str, owner: object) -> bool:
    allowed = entry.record.get("allowed_assistants")
    listed = allowed is None or assistant_id in allowed
    return entry.state == "active" and entry.record.get("user_email") == owner and listed
