"""The assistants that a caller may call, page by page, decided as a call's look-up decides."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import structlog

from webcall.core.dispatch import dispatch_metadata, filled_definition
from webcall.core.limits import assistant_id_fits
from webcall.core.lookup import Assistants
from webcall.core.stages import UNTIMED, Stages
from webcall.errors import (
    AssistantNotFound,
    BackendError,
    InvalidMetadata,
    RecordError,
    Refused,
    TemplateError,
)
from webcall.interfaces import Assistant, AssistantStore, Caller, ListsAssistants, PagesAssistants, Record
from webcall.records import assistant_from_record

# Ids that one page may cost; an owner may have any number that cannot be called.
LOOKED_AT = 2000
_LARGEST_ASK = 500

_ID, _OWNER = "assistant_id", "assistant_created_by_email"

Stores = Sequence[tuple[str, AssistantStore]]

log = structlog.stdlib.get_logger("webcall.listing")


@dataclass(frozen=True, slots=True)
class Page:
    """Assistants sorted by id, and the `after` of the next page; None: there is none."""

    assistants: Sequence[Assistant]
    next: str | None


@dataclass(frozen=True, slots=True)
class _Found:
    """A record as one store lists it; `place` is that store's place in the order of asking."""

    assistant_id: str
    place: int
    record: Record


class _Listed:
    """Stands in for a store that has listed this record, so that it need not be asked again."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def get(self, _assistant_id: str, _caller: Caller) -> Assistant:
        assistant = assistant_from_record(self._record)
        if not assistant.is_active:
            raise Refused("assistant is inactive")
        return assistant


class Listing:
    """Lists what a caller may call."""

    def __init__(self, stores: Stores, stages: Stages = UNTIMED) -> None:
        """Take (backend name, store) pairs in the order in which they are asked.

        A store that cannot list adds nothing, but what it knows of an id counts as in a call.
        """
        self._stores = stores
        self._stages = stages
        self._lists = [isinstance(store, PagesAssistants | ListsAssistants) for _, store in stores]

    def page(self, caller: Caller, after: str, limit: int) -> Page:
        """Return at most `limit` assistants whose ids are greater than `after`, by code points.

        There may be fewer and yet a next page, where many ids in between cannot be called. Faulty
        records are left out with a line in the log. Raises `BackendError` if a store cannot answer:
        an outage is never a short list.
        """
        with self._stages.timed("listing"):
            return self._page(caller, after, limit)

    def _page(self, caller: Caller, after: str, limit: int) -> Page:
        found: list[Assistant] = []
        faulty: list[str] = []
        following = None
        if caller.allowed_assistants is None:
            candidates = self._of_stores(caller, after, limit)
        else:
            candidates = self._of_key(caller.allowed_assistants, after)
        for count, (assistant_id, stores) in enumerate(candidates, start=1):
            assistant = None
            try:
                known = Assistants(stores).find(assistant_id, caller)
                _check_call(known)
                assistant = known
            except AssistantNotFound:
                pass
            except TemplateError as error:
                # Its text quotes the prompt.
                faulty.append(f"{error.field}: its placeholders cannot be parsed")
            except (RecordError, InvalidMetadata) as error:
                faulty.append(str(error))
            if assistant is not None and len(found) == limit:
                following = found[-1].id
                break
            if assistant is not None:
                found.append(assistant)
            if count == LOOKED_AT:
                following = assistant_id
                break
        if faulty:
            fix = "`flask webcall check` names them"
            log.warning("records left out of a listing", count=len(faulty), first=faulty[0], fix=fix)
        return Page(found, following)

    def _of_key(self, allowed: frozenset[str], after: str) -> Iterator[tuple[str, Stores]]:
        """Yield the ids of the key's own list: it may name three of an owner's million."""
        for assistant_id in sorted(allowed):
            if assistant_id > after and _can_be_asked_for(assistant_id):
                yield assistant_id, self._stores

    def _of_stores(self, caller: Caller, after: str, limit: int) -> Iterator[tuple[str, Stores]]:
        """Yield the ids that stores list for the caller, each with the stores that decide on it."""
        listed = [
            self._records(place, caller, after, limit) for place, lists in enumerate(self._lists) if lists
        ]
        merged = heapq.merge(*listed, key=lambda found: (found.assistant_id, found.place))
        for assistant_id, same in groupby(merged, key=lambda found: found.assistant_id):
            first = next(same)
            if _can_be_asked_for(assistant_id):
                unlisted = [self._stores[place] for place in range(first.place) if not self._lists[place]]
                yield assistant_id, [*unlisted, (self._stores[first.place][0], _Listed(first.record))]

    def _records(self, place: int, caller: Caller, after: str, limit: int) -> Iterator[_Found]:
        """Yield one store's records of this caller, sorted by id; asks for more as they are used up."""
        name, store = self._stores[place]
        size = limit + 1
        while True:
            page = _page_of(name, store, caller, after, size)
            last = ""
            for record in page:
                assistant_id = record.get(_ID)
                # A page out of order would lose assistants in silence, or never end.
                if not isinstance(assistant_id, str) or assistant_id <= after or assistant_id < last:
                    raise BackendError(f"{name}: lists assistants that are not sorted by id, by code points")
                last = assistant_id
                yield _Found(assistant_id, place, record)
            if len(page) < size:
                return
            after, size = last, min(2 * size, _LARGEST_ASK)


def _page_of(name: str, store: Any, caller: Caller, after: str, limit: int) -> Sequence[Record]:
    try:
        if isinstance(store, PagesAssistants):
            return list(store.page_of_assistants(caller, after, limit))
        owned = (record for record in store.list_assistants() if _is_of(record, caller, after))
        return heapq.nsmallest(limit, owned, key=lambda record: str(record[_ID]))
    except BackendError:
        raise
    except Exception as error:
        # Without its text, as in a look-up: it may quote what was asked.
        raise BackendError(f"{name}: {type(error).__name__}") from error


def _check_call(assistant: Assistant) -> None:
    """Raise as a call without metadata would for this assistant, whatever LiveKit says."""
    definition = filled_definition(assistant, {}, text_only=False)
    room = f"{assistant.id}_00000000"
    dispatch_metadata(room=room, definition=definition, metadata={}, text_only=False, max_duration_s=0)


def _is_of(record: Any, caller: Caller, after: str) -> bool:
    if not isinstance(record, Mapping) or record.get(_OWNER) != caller.email:
        return False
    return isinstance(record.get(_ID), str) and record[_ID] > after


def _can_be_asked_for(assistant_id: str) -> bool:
    """Return whether a request could name this id: it would come trimmed, short and as Unicode."""
    try:
        assistant_id.encode()
    except UnicodeEncodeError:
        return False
    return assistant_id_fits(assistant_id) and assistant_id.strip() == assistant_id
