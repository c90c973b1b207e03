"""Strict JSON, its canonical form, and the bodies that are made of it."""

from __future__ import annotations

import json
import math
import uuid
from datetime import UTC, datetime
from typing import Any

import jiter
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from marshmallow import ValidationError

from tests.support.fuzzing import fuzzed
from webcall.core.calls import CallRequest
from webcall.core.idempotency import Candidate, canonical, check_header, derived_candidates
from webcall.core.limits import MAX_DEPTH, check_metadata
from webcall.errors import IdempotencyConflict, InvalidMetadata
from webcall.http.body import NotJSON, by_path, parse_strict
from webcall.http.schemas import TokenRequest
from webcall.http.token_source_schemas import TokenSourceRequest
from webcall.json_writing import as_bytes, as_text

_LATER = datetime(2030, 1, 1, tzinfo=UTC)

NUMBERS = (
    st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0, -0.0, 1, 1.0])
)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=6)
NAMES = st.sampled_from(["a", "b", ""]) | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=10,
)
# What JSON is made of, and what only looks like it.
PIECES = st.sampled_from(
    [
        *(b"{", b"}", b"[", b"]", b":", b",", b'"', b'"a"', b'"a":', b"\\", b" ", b"\n", b"\t", b"\x00"),
        *(
            b"0",
            b"-",
            b"1",
            b"9" * 400,
            b"1e5",
            b"1e999",
            b"-1e400",
            b".5",
            b"1.",
            b"01",
            b"+1",
            b"1_0",
            b"0x1",
        ),
        *(b"true", b"false", b"null", b"NaN", b"Infinity", b"-Infinity", b"None", b"//", b"/**/", b"'a'"),
        *(
            rb'"\u0000"',
            rb'"\ud800"',
            rb'"\ud83d\ude00"',
            rb'"\x41"',
            b'"\xff"',
            b"\xef\xbb\xbf",
            b"\xc2\xa0",
        ),
        *(b'{"a":1,"a":2}', b'{"a":1,"\\u0061":2}', b'"\x7f"', "\u2028".encode(), "\uff11".encode()),
    ]
)
TEXTS = st.one_of(
    st.lists(PIECES, max_size=8).map(b"".join),
    VALUES.map(lambda value: json.dumps(value).encode()),
    VALUES.map(
        lambda value: json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8", "surrogatepass")
    ),
    st.binary(max_size=20),
    st.builds(
        lambda value, at, piece: (
            (text := json.dumps(value).encode())[: at % (len(text) + 1)] + piece + text[at:]
        ),
        VALUES,
        st.integers(0, 60),
        PIECES | st.binary(max_size=2),
    ),
)


def numbers_in(value: Any) -> list[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for item in value for number in numbers_in(item)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


def fits_a_double(number: float) -> bool:
    try:
        return math.isfinite(float(number))
    except OverflowError:
        return False


@fuzzed
@given(TEXTS)
@example(b'{"a": 1, "\\u0061": 2}')
@example(b"1" * 5000)
@example(b"\xef\xbb\xbf{}")
def test_strict_json_is_what_another_strict_reader_takes(text: bytes) -> None:
    """It reads what jiter, a reader in Rust, reads as well, to the same value, and refuses the rest."""
    try:
        expected: Any = jiter.from_json(text, allow_inf_nan=False, catch_duplicate_keys=True)
        good = all(map(fits_a_double, numbers_in(expected)))
    except ValueError:
        good = False
    if good:
        assert repr(parse_strict(text)) == repr(expected)
    else:
        with pytest.raises(NotJSON):
            parse_strict(text)


@fuzzed
@given(st.integers(1, 3000), st.sampled_from([b"[", b'{"a":', b'[{"":']), st.booleans())
def test_depth_never_breaks_it(depth: int, opening: bytes, closed: bool) -> None:
    """However deep, and closed or not, the answer is a value or that it is not JSON."""
    closing = opening.replace(b"[", b"]").replace(b'{"a":', b"}").replace(b'{"":', b"}")[::-1]
    text = opening * depth + (b"1" + closing * depth if closed else b"")
    try:
        parse_strict(text)
    except NotJSON:
        assert not closed or depth > 100
    else:
        assert closed


@fuzzed
@given(
    VALUES
    | st.text(st.characters(), max_size=4)
    | st.builds(lambda value, levels: _wrapped(value, levels, as_list=True), VALUES, st.integers(250, 260))
)
@example({"a": "\ud800", "\udfff": 1e16})
@example([2**63, 2**64 - 1, 2**64, -(2**63) - 1, 5e-324, 1.7976931348623157e308, -0.0])
@example({"\x7f\x00\u2028": "é😀</script>"})
def test_what_is_written_is_what_another_writer_writes(value: Any) -> None:
    """Read again, what orjson writes and what it leaves to `json` is the value that it was, type by type."""
    assert repr(json.loads(as_bytes(value))) == repr(json.loads(json.dumps(value)))
    assert repr(json.loads(as_text(value))) == repr(json.loads(json.dumps(value, ensure_ascii=False)))


@pytest.mark.parametrize("value", [_LATER, _LATER.date(), object()])
def test_what_is_no_json_is_refused(value: object) -> None:
    """Whatever orjson knows beyond JSON would be a defect that nobody sees."""
    for write in (as_bytes, as_text):
        with pytest.raises(TypeError):
            write({"value": value})


def equal(one: Any, other: Any) -> bool:
    """Return whether two values are the same as JSON has it: one type of numbers, and false is not 0."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def alike(value: Any) -> st.SearchStrategy[Any]:
    """Return values that are often equal to `value`, written in another way."""
    if isinstance(value, dict):
        names = st.permutations(list(value))
        return names.map(lambda order: {name: value[name] for name in order})
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
        return st.sampled_from([value, float(value), str(value), bool(value)])
    return st.just(value) | VALUES


@fuzzed
@given(st.data(), VALUES)
def test_the_canonical_form_is_the_same_for_equal_values_only(data: st.DataObject, one: Any) -> None:
    """Two values have the same canonical form if and only if JSON calls them equal."""
    other = data.draw(alike(one))
    assert (canonical(one) == canonical(other)) is equal(one, other)
    assert equal(json.loads(canonical(one)), one)


@fuzzed
@given(*[st.text(max_size=3)] * 6)
@example("ab", "c", "d", "a", "bc", "d")
def test_candidates_are_shared_by_the_same_request_only(
    a: str, b: str, c: str, d: str, e: str, f: str
) -> None:
    """Where one part moves from key to assistant to header, everything that is derived is another."""

    def derive(key: str, assistant: str, header: str) -> list[Candidate]:
        return derived_candidates(
            api_secret="s" * 32, counted_as=key, assistant_id=assistant, header=header, body={"a": 1}
        )

    first, second = derive("k" + a, b, c), derive("k" + d, e, f)
    same = (a, b, c) == (d, e, f)
    for what in ("identity", "nonce", "fingerprint"):
        found = {getattr(one, what) for one in first}
        assert len(found) == len(first)
        assert (found == {getattr(one, what) for one in second}) is same
    assert [one.recognise(one.metadata(_LATER)) is not None for one in first] == [True] * len(first)
    assert (second[0].recognise(first[0].metadata(_LATER)) is not None) is same


@fuzzed
@given(
    st.one_of(
        st.text(max_size=40),
        VALUES.map(json.dumps),
        st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("nonce", "body", "expires", "draw"), SCALARS | VALUES)
        ).map(json.dumps),
        st.integers(1, 200_000).map(lambda depth: "[" * depth),
    )
)
@example("[" * 100_000)
@example('{"nonce": "n", "body": "b", "expires": 1e400, "draw": "d"}')
@example('{"nonce": "n", "body": "b", "expires": 99999999999999, "draw": "d"}')
def test_a_strangers_room_is_nobodys_repeat(metadata: str) -> None:
    """Whatever another program has written into its room, it is no room of this service."""
    candidate = Candidate("a_12345678", "caller", "n" * 32, "f" * 32)
    assert candidate.recognise(metadata) is None


@fuzzed
@given(st.text(max_size=300) | st.uuids().map(str), st.booleans())
def test_a_header_is_taken_or_refused(header: str, uuid_only: bool) -> None:
    """An Idempotency-Key is good, or refused with words of its own."""
    try:
        check_header(header, uuid_only=uuid_only)
    except IdempotencyConflict:
        good = False
    else:
        good = True
    plain = 1 <= len(header) <= 255 and header.isprintable()
    assert good is (plain and (not uuid_only or (header.isascii() and _is_uuid(header))))


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


DEEP = st.builds(
    lambda value, levels, as_list: _wrapped(value, levels, as_list),
    SCALARS,
    st.integers(0, 40),
    st.booleans(),
)
BODIES = st.dictionaries(
    st.sampled_from(["assistant_id", "metadata", "text_only", "metdata", "_schema"]) | NAMES,
    VALUES | st.dictionaries(NAMES, DEEP | st.integers(0, 9000).map(lambda many: "é" * many), max_size=3),
    max_size=4,
)


def _wrapped(value: Any, levels: int, as_list: bool) -> Any:
    for _ in range(levels):
        value = [value] if as_list else {"a": value}
    return value


@fuzzed
@given(BODIES)
@example({"assistant_id": "x", "metadata": {"a": "\ud800"}})
def test_bodies_of_get_token_are_taken_within_their_limits(body: dict[str, Any]) -> None:
    """What is taken is within every limit, and what is refused is told as text by the path of its field."""
    schema = TokenRequest()
    try:
        found: CallRequest = schema.load(body)
    except ValidationError as error:
        with pytest.raises(ValidationError):
            super(TokenRequest, schema).load(body)
        told = dict(by_path(error.messages_dict))
        assert told
        assert all(isinstance(one, str) for messages in told.values() for one in messages)
        return
    # The shorter way makes the same of it.
    assert found == super(TokenRequest, schema).load(body)
    assert set(body) <= {"assistant_id", "metadata", "text_only"}
    assert found.assistant_id == body["assistant_id"].strip()
    assert 1 <= len(found.assistant_id) <= 100
    assert found.metadata == (body.get("metadata") or {})
    assert depth_of(found.metadata) <= MAX_DEPTH
    assert len(json.dumps(found.metadata, ensure_ascii=False, separators=(",", ":")).encode()) <= 16 * 1024


@fuzzed
@given(st.dictionaries(NAMES, VALUES | DEEP | st.integers(0, 9000).map(lambda many: "é" * many), max_size=3))
def test_metadata_is_measured_as_it_is(metadata: dict[str, Any]) -> None:
    """It is refused if and only if it is too deep, too large, or no text of Unicode."""
    try:
        size = len(json.dumps(metadata, ensure_ascii=False, separators=(",", ":")).encode())
        good = size <= 16 * 1024 and depth_of(metadata) <= MAX_DEPTH
    except UnicodeEncodeError:
        good = False
    if good:
        check_metadata(metadata)
    else:
        with pytest.raises(InvalidMetadata):
            check_metadata(metadata)


@fuzzed
@given(TEXTS, st.text(max_size=5))
def test_metadata_in_a_string_is_strict_json_too(text: bytes, name: str) -> None:
    """LiveKit's form carries the metadata as a string: it is read by the same rules, or refused."""
    written = text.decode("utf-8", "replace")
    try:
        expected: Any = parse_strict(written.encode())
    except NotJSON:
        expected = None
    body = {"room_config": {"agents": [{"agent_name": "a", "metadata": written}]}, "participant_name": name}
    if not written or (isinstance(expected, dict) and depth_of(expected) <= MAX_DEPTH):
        found: CallRequest = TokenSourceRequest().load(body)
        assert found.metadata == (expected if written else {})
        return
    with pytest.raises(ValidationError) as raised:
        TokenSourceRequest().load(body)
    assert [path for path, _ in by_path(raised.value.messages_dict)] == ["room_config.agents.0.metadata"]
