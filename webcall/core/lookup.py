"""Ask the configured backends, in the configured order, with ARCHITECTURE's four outcomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import structlog

from webcall.core.permissions import PUBLISHABLE_NEEDS, as_presented, lacks_restrictions
from webcall.core.stages import UNTIMED, Stages
from webcall.errors import AssistantNotFound, BackendError, RecordError, Refused, Unauthorized
from webcall.interfaces import Assistant, AssistantStore, Caller, KeyValidator
from webcall.records import PUBLISHABLE_PREFIX, hash_api_key

T = TypeVar("T")

_MOST_KNOWN = 1024

log = structlog.stdlib.get_logger("webcall.lookup")


class KeyRing:
    """Finds whose API key it is."""

    def __init__(self, validators: Sequence[tuple[str, KeyValidator]], stages: Stages = UNTIMED) -> None:
        """Take (backend name, validator) pairs in the order in which they are asked."""
        self._validators = validators
        self._stages = stages
        self._known: dict[tuple[str, bool], tuple[Caller, Caller]] = {}

    def authenticate(self, api_key: str) -> Caller:
        """Return the caller. Raises `Unauthorized` for every key that may not be used.

        Raises `BackendError` as soon as a backend cannot answer: a later one may not decide then.
        """
        with self._stages.timed("authentication"):
            return self._authenticate(api_key)

    def _authenticate(self, api_key: str) -> Caller:
        for name, validator in self._validators:
            try:
                caller = _ask(name, Caller, lambda ask=validator.validate: ask(api_key))  # type: ignore[misc]
            except Refused:
                break
            if caller is not None:
                counted_as = _counted_as(name, caller, api_key)
                return self._presented(caller, api_key, counted_as)
        raise Unauthorized

    def _presented(self, caller: Caller, api_key: str, counted_as: str) -> Caller:
        """Return the caller as the key that was sent makes it. Raises `Unauthorized`.

        A backend that keeps its callers gives the same object each time: then so does this.
        """
        kind = counted_as, api_key.startswith(PUBLISHABLE_PREFIX)
        known, presented = self._known.get(kind, (None, caller))
        if known is not caller:
            presented = _restricted(replace(as_presented(caller, api_key), counted_as=counted_as))
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[kind] = caller, presented
        return presented


def _counted_as(backend: str, caller: Caller, api_key: str) -> str:
    """Return by what a caller is counted: a login has a new token every few minutes, its person stays."""
    return hash_api_key(api_key if caller.subject is None else f"{backend}\0{caller.subject}")


def _restricted(caller: Caller) -> Caller:
    """Refuse a publishable key that a record written by hand leaves open to the world."""
    if lacks_restrictions(caller):
        log.warning(f"key refused: {PUBLISHABLE_NEEDS}", key=caller.key_id)
        raise Unauthorized
    return caller


class Assistants:
    """Finds the assistant that a caller may use."""

    def __init__(self, stores: Sequence[tuple[str, AssistantStore]], stages: Stages = UNTIMED) -> None:
        """Take (backend name, store) pairs in the order in which they are asked."""
        self._stores = stores
        self._stages = stages

    def find(self, assistant_id: str, caller: Caller) -> Assistant:
        """Return the assistant; `AssistantNotFound` if there is none for this caller.

        An id outside the key's list takes the same way through the stores as one that does not
        exist, so that neither the answer nor its time tells them apart.
        """
        with self._stages.timed("store"):
            return self._find(assistant_id, caller)

    def _find(self, assistant_id: str, caller: Caller) -> Assistant:
        allowed = caller.allowed_assistants is None or assistant_id in caller.allowed_assistants
        for name, store in self._stores:
            try:
                found = _ask(name, Assistant, lambda get=store.get: get(assistant_id, caller))  # type: ignore[misc]
            except Refused:
                if allowed:
                    break
                continue
            except RecordError:
                # Outside the key's list not even a record's faults may show.
                if allowed:
                    raise
                continue
            if found is not None and allowed:
                return found
        raise AssistantNotFound


def _ask(name: str, kind: type[T], ask: Callable[[], T | None]) -> T | None:
    try:
        found = ask()
    except (Refused, BackendError):
        raise
    except Exception as error:
        # Its text may quote the key: the log gets the exception's types and places instead.
        raise BackendError(f"{name}: {type(error).__name__}") from error
    if found is not None and not isinstance(found, kind):
        raise BackendError(f"{name}: answered with {type(found).__name__}, not {kind.__name__} or None")
    return found
