"""Listing what a key may call: the same answer as that of a call for each id, page by page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from webcall.core import listing
from webcall.core.listing import Listing
from webcall.core.lookup import Assistants
from webcall.errors import AssistantNotFound, BackendError, RecordError
from webcall.interfaces import Assistant, Caller, Record
from webcall.records import assistant_for

ADA, EVE = "ada@example.com", "eve@example.com"
IDS = ["a", "A", "b", "c", "ä", " padded", "x" * 101, "\ud800"]
NAMES = ("first", "second", "third")


class Found:
    """A store that finds and cannot list."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.records = list(records)
        self.asked = 0

    def get(self, assistant_id: str, caller: Caller) -> Assistant | None:
        self.asked += 1
        own = [one for one in self.records if one["assistant_created_by_email"] == caller.email]
        return next((assistant_for(caller, one) for one in own if one["assistant_id"] == assistant_id), None)


class Listed(Found):
    """A store that lists, without pages."""

    def list_assistants(self) -> list[Record]:
        return self.records

    def find_assistant(self, assistant_id: str) -> Record | None:
        return next((one for one in self.records if one["assistant_id"] == assistant_id), None)


class Paged(Found):
    """A store that gives pages, and counts what they hold."""

    given = 0

    def page_of_assistants(self, caller: Caller, after: str, limit: int) -> Sequence[Record]:
        own = [one for one in self.records if one["assistant_created_by_email"] == caller.email]
        page = sorted(
            (one for one in own if one["assistant_id"] > after), key=lambda one: one["assistant_id"]
        )
        self.given += len(page[:limit])
        return page[:limit]


def record(assistant_id: str, **fields: Any) -> dict[str, Any]:
    return {"assistant_id": assistant_id, "assistant_created_by_email": ADA, **fields}


def walk(stores: Sequence[tuple[str, Any]], caller: Caller, limit: int) -> list[str]:
    """Return the ids of all pages."""
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        page = Listing(stores).page(caller, after, limit)
        assert len(page.assistants) <= limit
        assert page.next is None or page.next > after
        found += [one.id for one in page.assistants]
        after = page.next
    return found


def callable_ids(stores: Sequence[tuple[str, Any]], caller: Caller) -> list[str]:
    """Return the ids that a call finds, among those that a request can name."""
    found = []
    for assistant_id in IDS[:5]:
        try:
            found.append(Assistants(stores).find(assistant_id, caller).id)
        except (AssistantNotFound, RecordError):
            continue
    return sorted(found)


RECORDS = st.lists(
    st.builds(
        record,
        st.sampled_from(IDS),
        assistant_created_by_email=st.sampled_from([ADA, ADA, EVE]),
        assistant_is_active=st.sampled_from([True, True, False]),
        assistant_prompt=st.sampled_from(["", "", 7]),
    ),
    max_size=7,
    unique_by=lambda one: str(one["assistant_id"]),
)
ALLOWED = st.none() | st.frozensets(st.sampled_from([*IDS, "elsewhere"]))


@given(
    kinds=st.lists(st.tuples(st.sampled_from([Listed, Paged]), RECORDS), max_size=3),
    allowed=ALLOWED,
    limit=st.integers(1, 4),
    budget=st.sampled_from([1, 2, 2000]),
)
def test_the_listing_is_what_can_be_called(
    kinds: list[tuple[type[Found], list[Record]]],
    allowed: frozenset[str] | None,
    limit: int,
    budget: int,
) -> None:
    """Whatever the stores hold, all pages together are, in order, the ids that a call finds."""
    stores = [(name, kind(records)) for name, (kind, records) in zip(NAMES, kinds, strict=False)]
    caller = Caller(email=ADA, allowed_assistants=allowed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "LOOKED_AT", budget)
        assert walk(stores, caller, limit) == callable_ids(stores, caller)


@given(hidden=RECORDS, shown=RECORDS, limit=st.integers(1, 4))
def test_a_store_that_cannot_list_still_decides(
    hidden: list[Record], shown: list[Record], limit: int
) -> None:
    """Ids of a store that cannot list do not appear for it, and what it knows of others' ids counts."""
    stores: list[tuple[str, Any]] = [("first", Found(hidden)), ("second", Paged(shown))]
    caller = Caller(email=ADA)
    listed = {one["assistant_id"] for one in shown if one["assistant_created_by_email"] == ADA}
    assert walk(stores, caller, limit) == [each for each in callable_ids(stores, caller) if each in listed]


def test_a_page_takes_little_of_a_large_store() -> None:
    """A page asks a store with pages for one record more than it shows; a key's own list for its ids."""
    store = Paged(record(f"{number:05}") for number in range(5000))
    page = Listing([("first", store)]).page(Caller(email=ADA), "", 50)
    assert (len(page.assistants), page.next, store.given) == (50, "00049", 51)
    listed = Caller(email=ADA, allowed_assistants=frozenset({"00007", "nobody"}))
    page = Listing([("first", store)]).page(listed, "", 50)
    assert ([one.id for one in page.assistants], page.next) == (["00007"], None)
    assert (store.given, store.asked) == (51, 2)


def test_faulty_records_are_told_once_a_page() -> None:
    """What cannot be used is left out with one line that names store-side facts and no values."""
    records = [record("a", assistant_prompt=["CANARY"]), record("b"), record("c", assistant_prompt=7)]
    records += [record("d", assistant_prompt="{{#CANARY}}"), record("e", padding="x" * 600_000)]
    with capture_logs() as lines:
        assert walk([("first", Paged(records))], Caller(email=ADA), 10) == ["b"]
    [line] = lines
    assert (line["count"], line["log_level"]) == (4, "warning")
    assert "assistant_prompt" in line["first"]
    with capture_logs() as lines:
        assert walk([("first", Paged(records))], Caller(email=ADA), 1) == ["b"]
    assert "CANARY" not in str(lines)


class Broken:
    """A store whose listing fails, or answers with nonsense."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def get(self, *_: Any) -> None:
        return None

    def page_of_assistants(self, *_: Any) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    "answer",
    [
        BackendError("down"),
        RecordError("no record at all can be read"),
        ConnectionError("CANARY"),
        [record("b"), record("a")],
        [record("7")] * 100 + [{"assistant_id": 7}],
        None,
    ],
    ids=["outage", "unreadable", "driver", "unsorted", "no-id", "nothing"],
)
def test_an_outage_is_no_short_list(answer: Any) -> None:
    """A store that fails, or that answers against its contract, ends the listing with a failure."""
    stores = [("first", Paged([record("a")])), ("second", Broken(answer))]
    with pytest.raises(BackendError) as caught:
        Listing(stores).page(Caller(email=ADA), "", 10)
    assert "CANARY" not in str(caught.value)


def test_a_store_that_goes_on_with_one_page_ends() -> None:
    """A store that forgets `after` gets an error and not an endless loop."""
    stores = [("first", Broken([record("a"), record("b")]))]
    with pytest.raises(BackendError, match="not sorted"):
        walk(stores, Caller(email=ADA), 1)
