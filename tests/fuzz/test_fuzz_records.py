"""Records: files of keys and assistants, and every value in every field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jiter
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from plugins.file.parsing import ASSISTANTS, KEYS, checked, parse, placed, records_of
from plugins.file.rendering import rendered_list
from tests.fuzz.test_fuzz_settings import DOCUMENTS, TREES
from tests.support.deployment import API_KEYS
from tests.support.deployment import ASSISTANTS as SAMPLES
from tests.support.fuzzing import fuzzed
from webcall import RecordError, Refused
from webcall.interfaces import Caller
from webcall.records import as_json_value, assistant_for, assistant_from_record, caller_from_record

CANARY = "canary of a prompt"
YAML, JSON = Path("records.yaml"), Path("records.json")


@fuzzed
@given(DOCUMENTS, st.sampled_from([YAML, JSON]))
@example("!!timestamp", YAML)
@example("!!bool perhaps", YAML)
@example("!!int ''", YAML)
@example("!!float x", YAML)
@example("? [a]\n: b", YAML)
@example("a: &x [*x]", YAML)
@example("[" * 100_000, JSON)
@example("9" * 5000, JSON)
def test_any_file_is_read_or_refused_with_a_line(text: str, path: Path) -> None:
    """A file's text is values of JSON, the ones that another reader finds, or a `RecordError` of one line."""
    try:
        found = parse(text, path)
    except RecordError as error:
        fault = str(error)
    else:
        json.dumps(found, allow_nan=False)
        if path == JSON and text.strip():
            assert repr(found) == repr(as_json_value(jiter.from_json(text.encode("utf-8", "surrogatepass"))))
        return
    assert fault.startswith(f"{path}: ")
    assert fault.isprintable()


FIELDS = sorted({name for record in (*API_KEYS, *SAMPLES) for name in record} | {"rate_limit", "created_at"})
VALUES = st.one_of(
    TREES,
    st.just(CANARY),
    st.binary(max_size=3),
    st.sampled_from(
        [CANARY + "\n", 10**30, -1, 1e308, "lvp_x", "2030-01-31", "9999-12-31T23:59:59-23:59", "0" * 64]
    ),
)
RECORDS = st.builds(
    lambda record, changes: {**record, **changes},
    st.sampled_from([*API_KEYS, *SAMPLES]),
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=3),
)


@fuzzed
@given(RECORDS | TREES)
@example({**API_KEYS[0], "expires_at": "0001-01-01T00:00:00+23:59"})
@example({**API_KEYS[0], "expires_at": "9999-12-31T23:59:59-23:59"})
def test_any_record_is_used_or_refused(record: Any) -> None:
    """A record makes a caller or an assistant, or is refused with the names of its fields and no value."""
    for make in (caller_from_record, assistant_from_record):
        try:
            found = make(record)
        except Refused:
            continue
        except RecordError as error:
            fault = str(error)
        else:
            assert CANARY not in repr(found) or CANARY in str(record)
            continue
        assert CANARY not in fault
        assert fault.isprintable()
    caller = Caller("ada@example.com")
    try:
        mine = assistant_for(caller, record)
    except (Refused, RecordError):
        return
    assert mine is None or mine.owner == caller.email


@fuzzed
@given(st.lists(RECORDS | TREES, max_size=4), st.sampled_from([KEYS, ASSISTANTS]))
def test_a_list_of_records_is_whole_or_refused_by_position(records: list[Any], kind: Any) -> None:
    """All of a file's records are usable, each found by its own key, or the place of a bad one is told."""
    try:
        found = dict(checked(placed(records_of(records, YAML), YAML), kind))
    except RecordError as error:
        fault = str(error)
    else:
        assert list(found.values()) == records
        return
    assert fault.startswith("records.yaml: record ")
    assert CANARY not in fault


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
LISTS = st.lists(
    st.dictionaries(st.text(min_size=1, max_size=5), JSON_VALUES, min_size=1, max_size=3), max_size=4
)


@fuzzed
@given(LISTS, LISTS.filter(bool), st.data())
def test_what_is_written_is_read_again(before: list[Any], new: list[Any], data: st.DataObject) -> None:
    """A list with a record added, changed or removed reads back as that list, or is never written."""
    text = yaml.safe_dump(before, allow_unicode=True)
    try:
        before = parse(text, YAML) or []
    except RecordError:
        return
    position = data.draw(st.none() | st.integers(0, len(before) - 1)) if before else None
    after = [*before, new[0]]
    if position is not None:
        after = [*before[:position], *data.draw(st.sampled_from([[new[0]], []])), *before[position + 1 :]]
    try:
        written = rendered_list(YAML, text if before else "", before, after, position)
    except RecordError:
        # Characters that YAML has no form for; the caller is told of a .json file.
        return
    assert (parse(written, YAML) or []) == after
    assert json.loads(rendered_list(JSON, "", before, after, position)) == after
