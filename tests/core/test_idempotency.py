"""Repeats are recognised by what is derived from the request alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webcall.core.idempotency import (
    GENERATIONS,
    LONGEST_HEADER,
    Candidate,
    canonical,
    check_header,
    derived_candidates,
)
from webcall.errors import IdempotencyConflict

SECRET = "CANARYsecret" + "s" * 32
GIVEN: dict[str, Any] = {
    "api_secret": SECRET,
    "counted_as": "f" * 64,
    "assistant_id": "helper",
    "header": "CANARYheader",
    "body": {"assistant_id": "helper", "metadata": {"who": "Ada"}},
}
SOON = datetime(2030, 1, 1, tzinfo=UTC)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def test_a_repeat_derives_the_same_rooms() -> None:
    """Equal requests have equal candidates, all generations of which differ in everything but the id."""
    found = derived_candidates(**GIVEN)
    assert found == derived_candidates(**GIVEN)
    assert len(found) == GENERATIONS
    for part in ("room_name", "identity", "nonce", "fingerprint"):
        assert len({getattr(one, part) for one in found}) == GENERATIONS
    for one in found:
        assert one.room_name.startswith("helper_")
        assert len(one.room_name) == len("helper_") + 8
        assert len(one.identity) == len("caller-") + 32


@pytest.mark.parametrize(
    "changed",
    [
        {"api_secret": "t" * 32},
        {"counted_as": "e" * 64},
        {"assistant_id": "other"},
        {"header": "twice"},
        # Parts that are the same one after another, with the border elsewhere.
        {"assistant_id": "helperC", "header": "ANARYheader"},
    ],
)
def test_each_part_makes_another_call(changed: dict[str, Any]) -> None:
    """Another key, assistant, header or secret shares neither a suffix, an identity nor a nonce."""
    one, other = derived_candidates(**GIVEN)[0], derived_candidates(**GIVEN | changed)[0]
    assert one.room_name[-8:] != other.room_name[-8:]
    assert one.identity != other.identity
    assert one.nonce != other.nonce
    assert one.fingerprint != other.fingerprint


def test_another_body_is_a_conflict_in_the_same_room() -> None:
    """Another body leads to the same room, whose mark tells that the bodies differ."""
    one = derived_candidates(**GIVEN)[0]
    other = derived_candidates(**GIVEN | {"body": {"assistant_id": "helper"}})[0]
    assert (one.room_name, one.identity, one.nonce) == (other.room_name, other.identity, other.nonce)
    mark = other.recognise(one.metadata(SOON))
    assert mark is not None
    assert mark.expires_at == SOON
    one.check_body(mark)
    with pytest.raises(IdempotencyConflict, match="another body"):
        other.check_body(mark)


def test_a_rooms_metadata_tells_a_browser_nothing() -> None:
    """It holds digests that need the secret, and none of what they are made from."""
    one = derived_candidates(**GIVEN)[0]
    text = one.metadata(SOON)
    assert set(json.loads(text)) == {"nonce", "body", "expires", "draw"}
    for secret in (SECRET, "f" * 64, "CANARYheader", "Ada", "helper"):
        assert secret not in text
    assert one.metadata(SOON) != text, "who made the room must be told from its repeats"
    assert "CANARY" not in repr(one)


@pytest.mark.parametrize(
    "metadata",
    [
        *("", "{", "[]", "1", "null", '{"nonce": "x"}'),
        '{"nonce": [], "body": {}, "expires": "soon", "draw": 1}',
        json.dumps({"nonce": "ü", "body": "b", "expires": 10**30, "draw": "d"}),
    ],
)
def test_a_strangers_room_is_a_strangers(metadata: str) -> None:
    """Whatever metadata another room has, it is not taken for one's own, and breaks nothing."""
    one = derived_candidates(**GIVEN)[0]
    assert one.recognise(metadata) is None
    nonce = json.dumps({**json.loads(one.metadata(SOON)), "nonce": "ü" * 32})
    assert one.recognise(nonce) is None


def test_a_request_without_the_header_recognises_nothing() -> None:
    """A room that was drawn at random is nobody's again, not even with its own nonce."""
    one = Candidate("helper_00000000", "caller-x", "nonce")
    assert json.loads(one.metadata(SOON)) == {"nonce": "nonce"}
    theirs = json.dumps({"nonce": "nonce", "body": "", "expires": 1, "draw": ""})
    assert one.recognise(theirs) is None


def test_without_a_key_there_is_no_derivation() -> None:
    """A caller of no known key cannot be taken for another such caller."""
    with pytest.raises(ValueError, match="tell callers apart"):
        derived_candidates(**GIVEN | {"counted_as": ""})


@given(JSON)
def test_equal_values_have_one_form(value: Any) -> None:
    """White space, the order of names and escapes do not matter, and the form is that value's again."""
    spread = json.dumps(value, indent=3, ensure_ascii=False)
    assert canonical(json.loads(spread)) == canonical(value)
    assert json.loads(canonical(value)) == value
    if isinstance(value, dict):
        assert canonical(dict(reversed(value.items()))) == canonical(value)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1", "1.0", True),
        ("100", "1e2", True),
        ("0", "-0.0", True),
        ("[1]", "[1.0]", True),
        ("1", "true", False),
        ("0", "false", False),
        ('"1"', "1", False),
        ("null", "{}", False),
        ("9007199254740993", "9007199254740992", False),
        ('{"a": null}', "{}", False),
        ('"\\u0041"', '"A"', True),
        ("[1, 2]", "[2, 1]", False),
    ],
)
def test_what_is_equal_in_json(one: str, other: str, same: bool) -> None:
    """Numbers count by their value, types and the order of lists matter, and large numbers are exact."""
    assert (canonical(json.loads(one)) == canonical(json.loads(other))) is same


@pytest.mark.parametrize("header", ["0", "a b", "x" * LONGEST_HEADER, "grün", "~!@#"])
def test_headers_that_are_taken(header: str) -> None:
    """Up to 255 printable characters are taken, but not for a publishable key."""
    check_header(header, uuid_only=False)
    with pytest.raises(IdempotencyConflict, match="UUID"):
        check_header(header, uuid_only=True)


@pytest.mark.parametrize("header", ["", "x" * (LONGEST_HEADER + 1), "a\tb", "a\nb", "a\x00b", "\x7f"])
@pytest.mark.parametrize("uuid_only", [False, True])
def test_headers_that_are_refused(header: str, uuid_only: bool) -> None:
    """Empty, too long and unprintable ones are refused, and not quoted."""
    with pytest.raises(IdempotencyConflict) as raised:
        check_header(header, uuid_only=uuid_only)
    assert not header or header not in str(raised.value)


def test_a_uuid_is_taken_for_a_publishable_key() -> None:
    """As crypto.randomUUID() writes it, in either case; with anything around it, it is none."""
    uuid = "0f8fad5b-d9cb-469f-a165-70867728950e"
    check_header(uuid, uuid_only=True)
    check_header(uuid.upper(), uuid_only=True)
    for other in (f"{{{uuid}}}", uuid.replace("-", ""), uuid + "0", "urn:uuid:" + uuid):
        with pytest.raises(IdempotencyConflict):
            check_header(other, uuid_only=True)
