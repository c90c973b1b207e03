"""Stored records: every field, every form of it, and faults that name fields and no values."""

from __future__ import annotations

import copy
import json
import pickle
import tracemalloc
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

import webcall.records
from webcall.errors import RecordError, Refused
from webcall.interfaces import Caller
from webcall.record_loading import Loader
from webcall.record_schemas import AssistantSchema, KeySchema
from webcall.records import (
    as_json_value,
    assistant_for,
    assistant_from_json,
    assistant_from_record,
    caller_from_json,
    caller_from_record,
    check_assistant_record,
    check_key_record,
    hash_api_key,
    key_hash_of,
    key_id_of,
    new_api_key,
)

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
KEY = "lvk_" + "k" * 43
KEY_RECORD = {"api_key_hash": hash_api_key(KEY), "user_email": "ada@example.com"}
ASSISTANT = {"assistant_id": "helper", "assistant_created_by_email": "ada@example.com"}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is noon of the first of June 2026."""
    monkeypatch.setattr(webcall.records, "_now", lambda: NOW)


def test_new_key_is_256_random_bits() -> None:
    """A key is its prefix and 43 URL-safe characters, and no two are alike."""
    keys = {new_api_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith("lvk_") and len(key) == 47 and key.isascii() for key in keys)
    page = new_api_key(publishable=True)
    assert page.startswith("lvp_")
    assert len(page) == 47


def test_hash_of_a_key() -> None:
    """The stored hash wins over that of a plain key; odd keys have one, and no key has none."""
    assert hash_api_key("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert len(hash_api_key("\udc80ü\0")) == 64
    assert key_hash_of({"api_key": KEY}) == hash_api_key(KEY)
    assert key_hash_of(KEY_RECORD | {"api_key": "other"}) == hash_api_key(KEY)
    for nothing in ({}, {"api_key": ""}, {"api_key": None, "api_key_hash": None}, {"api_key": 5}):
        assert key_hash_of(nothing) is None


def test_record_of_a_key_becomes_its_caller() -> None:
    """Every field of the record is in the caller; unknown ones are passed over."""
    record = KEY_RECORD | {
        "api_key_prefix": "lvp_12345678",
        "user_name": "Ada",
        "org_name": "Engines",
        "is_active": True,
        "created_at": "whatever",
        "expires_at": "2027-01-01",
        "allowed_assistants": ["a", "b"],
        "allowed_origins": ["https://b", "https://a"],
        "allowed_metadata": [],
        "rate_limit": "5/minute",
        "max_concurrent_calls": 3,
        "a_field_of_tomorrow": 1,
    }
    assert caller_from_record(record) == Caller(
        email="ada@example.com",
        name="Ada",
        org="Engines",
        key_id="lvp_12345678",
        allowed_assistants=frozenset({"a", "b"}),
        allowed_origins=("https://b", "https://a"),
        rate_limit="5/minute",
        max_concurrent_calls=3,
        allowed_metadata=frozenset(),
        publishable=True,
        expires_at=datetime(2027, 1, 1, tzinfo=UTC),
    )
    app = caller_from_record(KEY_RECORD | {"native": True})
    assert (app.publishable, app.native) == (True, True)


def test_null_is_as_good_as_missing_where_nothing_is_required() -> None:
    """Null in an optional field means what its absence means: no limit."""
    optional = ("api_key", "api_key_prefix", "user_name", "org_name", "expires_at", "allowed_assistants")
    optional += ("allowed_origins", "allowed_metadata", "rate_limit", "max_concurrent_calls", "native")
    assert caller_from_record(KEY_RECORD | dict.fromkeys(optional)) == caller_from_record(KEY_RECORD)
    texts = ("assistant_mode", "assistant_prompt", "assistant_start_instruction")
    nulls = ASSISTANT | dict.fromkeys((*texts, "assistant_placeholder_defaults", "agent_name"))
    found = assistant_from_record(nulls)
    assert (found.mode, found.prompt, found.start_instruction) == ("pipeline", "", "")
    assert (found.placeholder_defaults, found.agent_name, found.is_active) == ({}, None, True)


GONE = [
    NOW,
    NOW - timedelta(microseconds=1),
    NOW.replace(tzinfo=None),
    NOW.astimezone(timezone(timedelta(hours=5, minutes=30))),
    date(2026, 6, 1),
    datetime.min,
    "2026-06-01",
    "2026-06-01T12:00:00Z",
    "2026-06-01T12:00:00",
    "2026-06-01T14:00:00+02:00",
    "0001-01-01T00:00:00+14:00",
]
COMING = [
    None,
    NOW + timedelta(microseconds=1),
    (NOW + timedelta(microseconds=1)).replace(tzinfo=None),
    date(2026, 6, 2),
    datetime.max,
    "2026-06-02",
    "2026-06-01T12:00:00.000001Z",
    "2026-06-01T12:00:00-00:01",
    "9999-12-31T23:59:59-12:00",
]


@pytest.mark.parametrize("expires_at", GONE, ids=str)
def test_expired_key_is_refused(expires_at: object) -> None:
    """A key has expired from that very moment on; a time without a zone is UTC, a day its first moment."""
    with pytest.raises(Refused, match="expired"):
        caller_from_record(KEY_RECORD | {"expires_at": expires_at})


@pytest.mark.parametrize("expires_at", COMING, ids=str)
def test_key_is_good_until_it_expires(expires_at: object) -> None:
    """Before that moment the key is as good as one without an end."""
    caller = caller_from_record(KEY_RECORD | {"expires_at": expires_at})
    assert caller.expires_at is None if expires_at is None else caller.expires_at > NOW
    assert replace(caller, expires_at=None) == caller_from_record(KEY_RECORD)


def test_a_record_that_changes_is_another_one() -> None:
    """What was read of a record is never given for one that differs, in a value's type alone too."""
    for _ in range(2):
        assert caller_from_record(KEY_RECORD | {"is_active": True}).email == KEY_RECORD["user_email"]
        with pytest.raises(Refused, match="revoked"):
            caller_from_record(KEY_RECORD | {"is_active": False})
        assert caller_from_record(KEY_RECORD | {"max_concurrent_calls": 1}).max_concurrent_calls == 1
        for faulty in (True, 1.5, "1", [], {}, object(), bytearray(b"1")):
            with pytest.raises(RecordError, match="max_concurrent_calls"):
                caller_from_record(KEY_RECORD | {"max_concurrent_calls": faulty})


def test_a_record_of_any_size_is_read() -> None:
    """Texts that are too long to be kept, and values that cannot be, are read each time."""
    texts = ["x" * 2_000_000, "y" * 2_000_000, "x" * 2_000_000]
    found = [assistant_from_record(ASSISTANT | {"assistant_prompt": text}).prompt for text in texts]
    assert found == texts

    class Unhashable:
        __hash__ = None  # type: ignore[assignment]  # as of some of BSON's types

    with pytest.raises(RecordError, match="assistant_mode"):
        assistant_from_record(ASSISTANT | {"assistant_mode": Unhashable()})


def test_what_is_kept_of_records_is_bounded() -> None:
    """Whatever its fields hold, lists and objects too, and nothing of a plain key."""
    loader = Loader(AssistantSchema(), "assistant record", dict)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(200):
            defaults = {f"name{place}": f"{number} {place} " * 10 for place in range(1000)}
            loader.kept(ASSISTANT | {"assistant_placeholder_defaults": defaults})
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held - before < 24_000_000
    keys = Loader(KeySchema(), "API key record", dict)
    plain = {"api_key": "lvk_" + "a" * 43, "user_email": "ada@example.com"}
    assert keys.kept(plain).fields == keys.kept_of_json(json.dumps(plain).encode()).fields
    assert not len(vars(keys)["_kept"])
    # An assistant may hold the key of its provider, which is none of the fields.
    secret = {"assistant_llm_config": {"api_key": "sk-secret"}}
    loader.kept_of_json(json.dumps(ASSISTANT | secret).encode())
    kept = vars(loader)["_kept"]
    assert len(kept)
    assert "sk-secret" not in repr([(content, one.fields) for content, one in kept.items()])


def test_a_record_as_text_is_the_same_record() -> None:
    """What a key's or an assistant's JSON says counts, the first time and when it is known."""
    text = json.dumps(KEY_RECORD).encode()
    assert caller_from_json(text) == caller_from_record(KEY_RECORD)
    assert caller_from_json(text) is caller_from_json(text)
    revoked = json.dumps(KEY_RECORD | {"is_active": False}).encode()
    past = json.dumps(KEY_RECORD | {"expires_at": "2020-01-01T00:00:00Z"}).encode()
    for _ in range(2):
        for refused in (revoked, past):
            with pytest.raises(Refused):
                caller_from_json(refused)
        with pytest.raises(RecordError, match="user_email"):
            caller_from_json(b'{"api_key_hash": "x"}')
        with pytest.raises(RecordError, match="not an object"):
            assistant_from_json(b"[]")
    defaults = {"assistant_placeholder_defaults": {"tone": ["kind"]}}
    text = json.dumps(ASSISTANT | defaults).encode()
    changed = assistant_from_json(text)
    changed.placeholder_defaults["tone"].append("loud")
    changed.record["assistant_placeholder_defaults"].clear()  # type: ignore[attr-defined]  # a dict
    assert assistant_from_json(text) == assistant_from_record(ASSISTANT | defaults)


def test_what_is_done_to_an_assistant_stays_there() -> None:
    """What one request changes is not the next one's, though both records are alike."""
    record = ASSISTANT | {"assistant_placeholder_defaults": {"tone": ["kind"]}}
    assistant_from_record(copy.deepcopy(record)).placeholder_defaults["tone"].append("loud")
    assert assistant_from_record(copy.deepcopy(record)).placeholder_defaults == {"tone": ["kind"]}


def test_a_caller_can_be_copied() -> None:
    """A plugin may hand it to another process; what it claims is empty, as of any key."""
    caller = caller_from_record(KEY_RECORD)
    assert copy.deepcopy(caller) == pickle.loads(pickle.dumps(caller)) == caller
    assert dict(caller.claims) == asdict(caller)["claims"] == {}


@pytest.mark.parametrize("value", [False, "false", "False", "no", "off", "0", 0])
def test_inactive_record_is_refused(value: object) -> None:
    """Every way to write false revokes a key, before it counts as expired, and rests an assistant."""
    with pytest.raises(Refused, match="revoked"):
        caller_from_record(KEY_RECORD | {"is_active": value, "expires_at": "2020-01-01"})
    record = ASSISTANT | {"assistant_is_active": value}
    assert not assistant_from_record(record).is_active
    with pytest.raises(Refused, match="inactive"):
        assistant_for(Caller("ada@example.com"), record)
    assert assistant_for(Caller("eve@example.com"), record) is None


WRONG_KEYS: list[tuple[str, Any]] = [
    ("user_email", None),
    ("user_email", ""),
    ("user_email", 5),
    ("user_name", ["canary"]),
    ("api_key_hash", "canary"),
    ("api_key_hash", "A" * 64),
    ("api_key_hash", "a" * 64 + "\n"),
    ("api_key_hash", b"a" * 64),
    ("api_key", {"canary": 1}),
    ("is_active", None),
    ("is_active", "canary"),
    ("is_active", []),
    ("expires_at", "canary"),
    ("expires_at", "2026-02-31"),
    ("expires_at", 1780000000),
    ("expires_at", ["canary"]),
    ("allowed_assistants", "canary"),
    ("allowed_assistants", [1]),
    ("allowed_assistants", [None]),
    ("allowed_origins", {"canary": 1}),
    ("allowed_metadata", "canary"),
    ("rate_limit", 60),
    ("max_concurrent_calls", -1),
    ("max_concurrent_calls", 1.5),
    ("max_concurrent_calls", True),
    ("max_concurrent_calls", "canary"),
    ("native", "canary"),
]
WRONG_ASSISTANTS: list[tuple[str, Any]] = [
    ("assistant_id", None),
    ("assistant_id", ""),
    ("assistant_id", 7),
    ("assistant_created_by_email", None),
    ("assistant_created_by_email", ["canary"]),
    ("assistant_mode", 5),
    ("assistant_prompt", {"canary": 1}),
    ("assistant_start_instruction", ["canary"]),
    ("assistant_placeholder_defaults", ["canary"]),
    ("assistant_placeholder_defaults", {1: "canary"}),
    ("agent_name", {"canary": 1}),
    ("assistant_is_active", None),
    ("assistant_is_active", "canary"),
]


@pytest.mark.parametrize(("name", "value"), WRONG_KEYS)
def test_wrong_field_of_a_key_is_named_and_not_quoted(name: str, value: object) -> None:
    """A record that cannot be used fails with the name of its field, never with a caller or a value."""
    for ask in (check_key_record, caller_from_record):
        with pytest.raises(RecordError, match=rf"\AAPI key record: {name}: ") as caught:
            ask(KEY_RECORD | {name: value})
        assert "canary" not in str(caught.value)
        assert caught.value.__cause__ is None


@pytest.mark.parametrize(("name", "value"), WRONG_ASSISTANTS)
def test_wrong_field_of_an_assistant_is_named_and_not_quoted(name: str, value: object) -> None:
    """A definition that cannot be used fails with the name of its field, never with its value."""
    for ask in (check_assistant_record, assistant_from_record):
        with pytest.raises(RecordError, match=rf"\Aassistant record: {name}: ") as caught:
            ask(ASSISTANT | {name: value})
        assert "canary" not in str(caught.value)


@pytest.mark.parametrize("record", [None, [], "canary", 5])
def test_record_of_another_type_is_a_fault(record: Any) -> None:
    """What is no object is a fault of the record, and no store's answer."""
    for check in (check_key_record, check_assistant_record):
        with pytest.raises(RecordError, match="not an object") as caught:
            check(record)
        assert "canary" not in str(caught.value)
    assert assistant_for(Caller("ada@example.com"), record) is None


def test_every_missing_field_is_named() -> None:
    """What is required is named where it is missing, all of it at once."""
    with pytest.raises(RecordError, match=r"assistant_id: .*; assistant_created_by_email: "):
        check_assistant_record({})
    with pytest.raises(RecordError, match="user_email"):
        check_key_record({"api_key": KEY})
    with pytest.raises(RecordError, match="api_key_hash: missing"):
        check_key_record({"user_email": "ada@example.com"})
    check_key_record({"user_email": "ada@example.com", "api_key": KEY})


def test_assistant_keeps_its_whole_record() -> None:
    """Fields that the service does not know are kept, and an empty agent name is none."""
    record = ASSISTANT | {"tomorrow": {"kept": True}, "agent_name": "", "assistant_mode": "realtime"}
    found = assistant_for(Caller("ada@example.com"), record)
    assert found is not None
    assert found.record == record
    assert (found.id, found.owner, found.mode) == ("helper", "ada@example.com", "realtime")
    assert found.agent_name is None


def test_id_of_a_key_never_shows_most_of_it() -> None:
    """Logs call a key by 12 characters: of a short or wholly stored key, by those of its hash."""
    assert key_id_of({"api_key": KEY}) == KEY[:12]
    assert key_id_of(KEY_RECORD) == hash_api_key(KEY)[:12]
    assert key_id_of({"api_key_prefix": KEY, "api_key_hash": hash_api_key(KEY)}) == hash_api_key(KEY)[:12]
    assert key_id_of({"api_key_prefix": "x" * 30, "api_key_hash": hash_api_key(KEY)}) == "x" * 12
    for short in ("secret", "a short key", "twelve chars", "x" * 23):
        record = {"user_email": "ada@example.com", "api_key": short}
        assert caller_from_record(record).key_id == hash_api_key(short)[:12]
    assert key_id_of({}) is None


def test_values_without_a_form_in_json_become_text() -> None:
    """Times become RFC 3339, other things their text, numbers that JSON lacks their names."""
    value = {
        1: [NOW, NOW.replace(tzinfo=None), date(2026, 6, 1), (1, None, True)],
        "f": [1.5, float("inf"), Decimal("1.50")],
    }
    assert as_json_value(value) == {
        "1": ["2026-06-01T12:00:00Z", "2026-06-01T12:00:00Z", "2026-06-01", [1, None, True]],
        "f": [1.5, "inf", "1.50"],
    }
