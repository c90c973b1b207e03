"""What the assistant receives."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId

from webcall.core.dispatch import MAX_BYTES, dispatch_metadata, filled_definition
from webcall.errors import InvalidMetadata, RecordError, TemplateError
from webcall.records import assistant_from_record


def record(**fields: Any) -> dict[str, Any]:
    return {"assistant_id": "helper", "assistant_created_by_email": "ada@example.com"} | fields


def filled(metadata: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return filled_definition(assistant_from_record(record(**fields)), metadata, text_only=False)


def test_the_whole_definition_travels() -> None:
    """Unknown fields are handed on; what JSON has no form for travels as a string."""
    stored = {
        "_id": ObjectId("650000000000000000000001"),
        "assistant_created_at": datetime(2026, 1, 2, 3, 4, 5),  # as a driver gives it
        "updated": datetime(2026, 1, 2, tzinfo=UTC),
        "numbers": [1, 2.5, float("inf"), True, None],
        "nested": {"when": {"x": ObjectId("650000000000000000000002")}},
    }
    definition = filled({}, **stored)
    assert json.loads(json.dumps(definition, allow_nan=False)) == {
        **record(),
        "_id": "650000000000000000000001",
        "assistant_created_at": "2026-01-02T03:04:05Z",
        "updated": "2026-01-02T00:00:00Z",
        "numbers": [1, 2.5, "inf", True, None],
        "nested": {"when": {"x": "650000000000000000000002"}},
    }


def test_only_the_two_texts_are_filled() -> None:
    """Placeholders in other fields stay as they are."""
    definition = filled(
        {"x": "1"}, assistant_prompt="{{x}}", assistant_start_instruction="{{x}}", assistant_name="{{x}}"
    )
    texts = ("assistant_prompt", "assistant_start_instruction", "assistant_name")
    assert [definition[name] for name in texts] == ["1", "1", "{{x}}"]


def test_a_text_at_fault_is_named() -> None:
    """A text that cannot be parsed is the assistant's fault, and its field is known."""
    with pytest.raises(TemplateError) as caught:
        filled({}, assistant_prompt="fine", assistant_start_instruction="{{#a}}")
    assert caught.value.field == "assistant_start_instruction"


def test_metadata_that_swells_a_text() -> None:
    """Past 64 KiB of a filled text the caller's metadata is at fault."""
    with pytest.raises(InvalidMetadata):
        filled({"list": [1] * 5000}, assistant_prompt="{{#list}}0123456789abcdef{{/list}}")


def test_the_form() -> None:
    """The caller's pairs lie flat; the service's three names win and shadow nothing in web_call."""
    metadata = {"call_type": "mine", "text_only": "mine", "web_call": "mine", "name": "Ö"}
    text = dispatch_metadata(
        room="helper_00000000",
        definition={"assistant_id": "helper"},
        metadata=metadata,
        text_only=True,
        max_duration_s=60,
    )
    assert json.loads(text) == {
        "name": "Ö",
        "call_type": "web",
        "text_only": True,
        "web_call": {
            "version": 1,
            "room_name": "helper_00000000",
            "metadata": metadata,
            "max_duration_s": 60,
            "assistant": {"assistant_id": "helper"},
        },
    }


@pytest.mark.parametrize("definition", [{"big": "x" * MAX_BYTES}, {"odd": "\ud800"}])
def test_a_definition_that_livekit_would_not_take(definition: dict[str, Any]) -> None:
    """Too large a definition, or one that is no Unicode, is the record's fault, told without its text."""
    with pytest.raises(RecordError) as caught:
        dispatch_metadata(room="r", definition=definition, metadata={}, text_only=False, max_duration_s=0)
    assert "xxx" not in str(caught.value)
