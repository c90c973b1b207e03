"""What the worker reads from a dispatch's metadata."""

from __future__ import annotations

import json
from typing import Any

import pytest

from webcall.core.definition_fields import KNOWN_FIELDS
from webcall.core.dispatch import dispatch_metadata
from webcall.worker.job import BadDispatch, read_job

CANARY = "canary-of-the-caller"


def metadata(definition: dict[str, Any], *, max_duration_s: int = 3600, text_only: bool = False) -> str:
    return dispatch_metadata(
        room="sample_1",
        definition=definition,
        metadata={"customer": {"name": CANARY}, "text_only": "the caller's own"},
        text_only=text_only,
        max_duration_s=max_duration_s,
    )


def test_reads_what_the_service_writes() -> None:
    """Every field of the contract's form arrives, and unknown ones of the definition by their names."""
    definition = {
        "assistant_id": "sample",
        "assistant_name": "Sample",
        "assistant_mode": "cascade",
        "assistant_prompt": "A prompt.",
        "assistant_start_instruction": "Greet.",
        "assistant_interaction_config": {"speaks_first": False, "volume": 11},
        "zeta": 1,
        "alpha": 2,
    }
    job = read_job(metadata(definition, text_only=True))
    assert (job.room_name, job.mode, job.text_only) == ("sample_1", "cascade", True)
    assert (job.prompt, job.start_instruction) == ("A prompt.", "Greet.")
    assert (job.assistant_id, job.assistant_name) == ("sample", "Sample")
    assert job.metadata["customer"] == {"name": CANARY}
    assert job.definition == definition
    assert not job.interaction.speaks_first
    assert job.ignored == ("alpha", "zeta", "assistant_interaction_config.volume")
    assert CANARY not in repr(job)
    assert "A prompt." not in repr(job)


def test_an_empty_definition_is_a_call() -> None:
    """A definition without fields is a pipeline call without prompt, and nothing of it is unknown."""
    job = read_job(metadata({}))
    assert (job.mode, job.prompt, job.start_instruction, job.ignored) == ("pipeline", "", "", ())
    assert read_job(metadata(dict.fromkeys(KNOWN_FIELDS))).ignored == ()


@pytest.mark.parametrize(
    ("service", "minutes", "expected"),
    [
        (3600, None, 3600),
        (0, None, None),
        (0, 2, 120),
        (60, 2, 60),
        (600, 0.5, 30),
        (True, None, None),
        ("60", None, None),
        (-1, 1, 60),
    ],
)
def test_the_shorter_limit_ends_a_call(service: Any, minutes: Any, expected: float | None) -> None:
    """A call lasts as long as the service and the definition both allow; zero is no limit."""
    definition = {"assistant_interaction_config": {"max_call_duration_minutes": minutes}}
    assert read_job(metadata(definition, max_duration_s=service)).max_duration_s == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        CANARY,
        "[" * 100_000,
        "[]",
        "null",
        json.dumps({"key": CANARY}),
        json.dumps({"web_call": CANARY}),
        json.dumps({"web_call": {"version": 2, "assistant": {}}}),
        json.dumps({"web_call": {"version": 1}}),
        json.dumps({"web_call": {"version": 1, "assistant": [CANARY]}}),
        json.dumps({"web_call": {"version": 1, "assistant": {}, "metadata": CANARY}}),
    ],
)
def test_what_the_service_does_not_write_is_refused(text: str) -> None:
    """Other metadata is refused with a reason that quotes nothing of it."""
    with pytest.raises(BadDispatch) as refused:
        read_job(text)
    assert CANARY not in str(refused.value)
    assert str(refused.value).startswith("the dispatch's ")
    assert refused.value.__cause__ is None
