"""The contract of an assistant store."""
# ruff: noqa: S101  # asserts are what a suite of tests is made of

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from webcall.errors import Conflict, Refused
from webcall.interfaces import (
    AssistantStore,
    Caller,
    ListsAssistants,
    ManagesAssistants,
    PagesAssistants,
)
from webcall.testing.common import ODD_STRINGS, cannot_list, held, outage_of, read_only, together

ID = "550e8400-Contract"
ADA = Caller(email="ada@example.com")
EVE = Caller(email="eve@example.com")

MakeStore = Callable[[list[dict[str, Any]]], AssistantStore | None]


def assistant_record(assistant_id: str = ID, owner: Caller = ADA, **fields: Any) -> dict[str, Any]:
    """Return a stored record of an assistant, with the optional fields in `fields`."""
    return {"assistant_id": assistant_id, "assistant_created_by_email": owner.email, **fields}


def full_record() -> dict[str, Any]:
    """Return a record with every field that the service reads, and some that it does not."""
    return assistant_record(
        assistant_name="Reception",
        assistant_mode="realtime",
        assistant_prompt="You are {{name}}'s assistant. Grüße, 你好!",
        assistant_start_instruction="Greet {{customer.name}}.",
        assistant_placeholder_defaults={"name": "Ada", "customer": {"name": "friend", "tags": ["a", "b"]}},
        agent_name="special-agent",
        assistant_is_active=True,
        assistant_llm_model="openai/gpt",
        assistant_llm_config={"temperature": 0.5, "stop": ["x"], "nothing": None},
        a_field_of_somebody_else=[{"deep": True}, 2],
    )


class AssistantStoreContract:
    """Subclass it under a name that begins with `Test` and define the fixture `make_store`."""

    @pytest.fixture
    def make_store(self) -> MakeStore:
        """Return a function from stored records to the store, or to None if it cannot hold them."""
        pytest.fail(f"{type(self).__name__} must define the fixture make_store")

    @pytest.fixture
    def broken_store(self) -> AssistantStore:
        """Return a store whose infrastructure is down."""
        pytest.skip("no broken_store: the outage of this backend is not tested")

    def test_own_assistant_is_whole(self, make_store: MakeStore) -> None:
        """The caller's own assistant comes with every field, those unknown to the service included."""
        record = full_record()
        found = held(make_store([assistant_record("another"), record])).get(ID, ADA)
        assert found is not None
        assert (found.id, found.owner, found.mode, found.is_active) == (ID, ADA.email, "realtime", True)
        assert found.prompt == record["assistant_prompt"]
        assert found.start_instruction == record["assistant_start_instruction"]
        assert found.placeholder_defaults == record["assistant_placeholder_defaults"]
        assert found.agent_name == "special-agent"
        assert {name: found.record.get(name) for name in record} == record

    def test_missing_fields_have_defaults(self, make_store: MakeStore) -> None:
        """A record of an id and an owner alone is an active pipeline with nothing to say."""
        found = held(make_store([assistant_record()])).get(ID, ADA)
        assert found is not None
        assert (found.mode, found.prompt, found.start_instruction) == ("pipeline", "", "")
        assert (found.placeholder_defaults, found.agent_name, found.is_active) == ({}, None, True)

    def test_unusual_id_is_found(self, make_store: MakeStore) -> None:
        """An id is any text: spaces, signs and other scripts are kept as they are."""
        ids = ["Ünïcode 助手: 50% off / $1.00", "a.b", "-x", "550"]
        store = held(make_store([assistant_record(one) for one in ids]))
        assert [getattr(store.get(one, ADA), "id", None) for one in ids] == ids

    @pytest.mark.parametrize("active", [True, False], ids=["active", "inactive"])
    def test_another_owners_assistant_is_unknown(self, make_store: MakeStore, active: bool) -> None:
        """A stranger learns nothing of an assistant, not even that it is inactive."""
        records = [assistant_record(assistant_is_active=active), assistant_record("eve's", EVE)]
        store = held(make_store(records))
        assert store.get(ID, EVE) is None
        assert store.get("eve's", EVE) is not None
        assert store.get(ID, Caller(email="")) is None

    def test_own_inactive_assistant_is_refused(self, make_store: MakeStore) -> None:
        """The caller's own inactive assistant is refused, so that no store behind is asked."""
        with pytest.raises(Refused):
            held(make_store([assistant_record(assistant_is_active=False)])).get(ID, ADA)

    @pytest.mark.parametrize("assistant_id", ODD_STRINGS.values(), ids=ODD_STRINGS.keys())
    def test_odd_id_is_unknown(self, make_store: MakeStore, assistant_id: str) -> None:
        """An id of any length and any characters that no record has is unknown, and no failure."""
        assert held(make_store([assistant_record()])).get(assistant_id, ADA) is None

    def test_only_the_id_itself_is_known(self, make_store: MakeStore) -> None:
        """What is close to an id is not the id."""
        store = held(make_store([assistant_record()]))
        near = [ID[:-1], ID + "x", ID.swapcase(), ID.lower(), " " + ID, ID + "\n", ID + "\x00", ID + "\udc80"]
        assert [store.get(one, ADA) for one in near] == [None] * len(near)
        assert store.get(ID, ADA) is not None

    def test_outage_is_no_answer(self, broken_store: AssistantStore) -> None:
        """While its infrastructure is down a store raises, and neither denies an assistant nor refuses it."""
        assert not isinstance(outage_of(lambda: broken_store.get(ID, ADA)), Refused)

    def test_many_threads_get_their_own_answers(self, make_store: MakeStore) -> None:
        """Look-ups from many threads at once get the answers that they get one by one."""
        store = held(make_store([assistant_record(), assistant_record("eve's", EVE)]))
        asked = [(ID, ADA), ("eve's", EVE), (ID, EVE), ("unknown", ADA)]

        def name(question: tuple[str, Caller]) -> str | None:
            return getattr(store.get(*question), "id", None)

        for answers in together([lambda question=question: name(question) for question in asked]):  # type: ignore[misc]
            assert answers == [ID, "eve's", None, None]

    def test_answer_shares_nothing_with_the_next(self, make_store: MakeStore) -> None:
        """What is done to one answer, however deep, does not show in the next."""
        store = held(make_store([full_record()]))
        first = store.get(ID, ADA)
        assert first is not None
        for part in (first.record, first.placeholder_defaults, first.record["assistant_llm_config"]):
            if isinstance(part, dict):
                part["left"] = "behind"
        first.record["a_field_of_somebody_else"][0].clear()
        first.placeholder_defaults["customer"]["tags"].append("behind")
        second = store.get(ID, ADA)
        assert second is not None
        assert second.placeholder_defaults == full_record()["assistant_placeholder_defaults"]
        assert {name: second.record.get(name) for name in full_record()} == full_record()
        assert "left" not in second.record

    def test_listing_is_whole(self, make_store: MakeStore) -> None:
        """A listing holds every record, whoever owns it, and one is found by its id alone."""
        store = held(make_store([full_record(), assistant_record("eve's", EVE, assistant_is_active=False)]))
        listing = store if isinstance(store, ListsAssistants) else cannot_list()
        listed = {one["assistant_id"]: one for one in listing.list_assistants()}
        assert set(listed) == {ID, "eve's"}
        assert {name: listed[ID].get(name) for name in full_record()} == full_record()
        found = listing.find_assistant("eve's")
        assert found is not None
        assert found["assistant_created_by_email"] == EVE.email
        assert [listing.find_assistant(one) for one in ODD_STRINGS.values()] == [None] * len(ODD_STRINGS)

    def test_pages_are_the_callers_own_sorted(self, make_store: MakeStore) -> None:
        """Pages hold the caller's records, inactive ones too, whole and by code points, each id once."""
        ids = ["a", "B", "Z", "a b", "aa", "ä", "z", "\uffff", "\U0001f511", ".", "10", "9"]
        records = [assistant_record(one) for one in ids]
        records += [full_record(), assistant_record("off", assistant_is_active=False)]
        records += [assistant_record(f"eve's {number}", EVE) for number in range(3)]
        store = paging(held(make_store(records)))
        expected = sorted([*ids, ID, "off"])
        whole = store.page_of_assistants(ADA, "", 100)
        assert [one["assistant_id"] for one in whole] == expected
        [full] = [one for one in whole if one["assistant_id"] == ID]
        assert {name: full.get(name) for name in full_record()} == full_record()
        for limit in (1, 3, len(expected)):
            paged: list[str] = []
            while page := store.page_of_assistants(ADA, paged[-1] if paged else "", limit):
                paged += [one["assistant_id"] for one in page]
                assert len(page) == limit or len(paged) == len(expected)
            assert paged == expected
        assert [one["assistant_id"] for one in store.page_of_assistants(ADA, "aaa", 1)] == ["off"]
        assert list(store.page_of_assistants(Caller(email="nobody@example.com"), "", 10)) == []
        assert list(store.page_of_assistants(Caller(email=""), "", 10)) == []

    @pytest.mark.parametrize(
        "after", ["newline\n", "*", "%", "$where", "a.b", "' OR '1'='1", "鍵-🔑", "nul\x00"]
    )
    def test_page_after_an_odd_id(self, make_store: MakeStore, after: str) -> None:
        """A page may begin after the id of no record, too."""
        store = paging(held(make_store([assistant_record(one) for one in ("A", "z")])))
        page = store.page_of_assistants(ADA, after, 10)
        assert [one["assistant_id"] for one in page] == [one for one in ("A", "z") if one > after]

    def test_page_shares_nothing_with_the_next(self, make_store: MakeStore) -> None:
        """What is done to the records of one page does not show in the next."""
        store = paging(held(make_store([full_record()])))
        [first] = store.page_of_assistants(ADA, "", 1)
        first["a_field_of_somebody_else"][0].clear()
        [second] = store.page_of_assistants(ADA, "", 1)
        assert second["a_field_of_somebody_else"] == full_record()["a_field_of_somebody_else"]

    def test_outage_is_no_empty_page(self, broken_store: AssistantStore) -> None:
        """While its infrastructure is down a store raises, and lists nothing."""
        store = paging(broken_store)
        outage_of(lambda: list(store.page_of_assistants(ADA, "", 10)))

    def test_put_assistant_is_found_and_listed(self, make_store: MakeStore) -> None:
        """An assistant that was put is found at once, listed and kept whole, the given record left alone."""
        store = held(make_store([assistant_record("another")]))
        assistants = managing(store)
        record = full_record()
        assistants.put_assistant(record)
        assert record == full_record()
        found, stored = store.get(ID, ADA), assistants.find_assistant(ID)
        assert found is not None
        assert stored is not None
        assert {name: stored.get(name) for name in record} == record
        assert {one["assistant_id"] for one in assistants.list_assistants()} == {ID, "another"}

    def test_put_replaces_the_whole_record(self, make_store: MakeStore) -> None:
        """Putting an assistant again replaces it: fields that are no longer given are gone."""
        store = held(make_store([full_record()]))
        assistants = managing(store)
        assistants.put_assistant(assistant_record(assistant_prompt="new"))
        found = store.get(ID, ADA)
        assert found is not None
        assert (found.prompt, found.mode) == ("new", "pipeline")
        assert "assistant_llm_config" not in found.record
        assert len(list(assistants.list_assistants())) == 1
        assistants.put_assistant(assistant_record(assistant_is_active=False))
        with pytest.raises(Refused):
            store.get(ID, ADA)

    def test_another_owners_id_is_taken(self, make_store: MakeStore) -> None:
        """An assistant is not stored under another owner's id, whose own stays as it is."""
        store = held(make_store([full_record()]))
        with pytest.raises(Conflict):
            managing(store).put_assistant(assistant_record(owner=EVE))
        assert store.get(ID, EVE) is None
        found = store.get(ID, ADA)
        assert found is not None
        assert found.mode == "realtime"

    def test_deleted_assistant_is_unknown(self, make_store: MakeStore) -> None:
        """Deleting an assistant removes it alone, and says whether it was there."""
        store = held(make_store([assistant_record(), assistant_record("another")]))
        assistants = managing(store)
        assert assistants.delete_assistant(ID)
        assert store.get(ID, ADA) is None
        assert assistants.find_assistant(ID) is None
        assert not assistants.delete_assistant(ID)
        assert store.get("another", ADA) is not None


def managing(store: AssistantStore) -> ManagesAssistants:
    """Return the store as one that can write; skip the test if it cannot."""
    return store if isinstance(store, ManagesAssistants) else read_only()


def paging(store: AssistantStore) -> PagesAssistants:
    """Return the store as one that gives pages; skip the test if it cannot."""
    return store if isinstance(store, PagesAssistants) else cannot_list()
