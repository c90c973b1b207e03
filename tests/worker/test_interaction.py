"""How `assistant_interaction_config` is read."""

from __future__ import annotations

from typing import Any

import pytest

from webcall.worker.interaction import Interaction, read_interaction


def test_all_settings_are_read() -> None:
    """Each setting of the right type arrives, and null means the default."""
    settings = {
        "speaks_first": False,
        "allow_interruptions": False,
        "silence_reprompts": True,
        "silence_reprompt_interval": 3,
        "silence_max_reprompts": 0,
        "max_call_duration_minutes": 0.5,
        "reply_on_chat": True,
    }
    assert read_interaction(settings) == (Interaction(**settings), [])
    assert read_interaction(dict.fromkeys(settings)) == (Interaction(), [])
    assert read_interaction(None) == (Interaction(), [])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("speaks_first", "false"),
        ("speaks_first", 0),
        ("silence_reprompt_interval", 0),
        ("silence_reprompt_interval", True),
        ("silence_reprompt_interval", float("nan")),
        ("silence_reprompt_interval", float("inf")),
        ("silence_max_reprompts", 11),
        ("silence_max_reprompts", -1),
        ("silence_max_reprompts", 1.5),
        ("max_call_duration_minutes", -1),
        ("max_call_duration_minutes", "5"),
        ("tempo", 1),
    ],
)
def test_what_cannot_be_used_is_named(name: str, value: Any) -> None:
    """A setting that is unknown, of another type or out of range leaves all as it is, and is named."""
    taken, ignored = read_interaction({name: value, "reply_on_chat": True})
    assert taken == Interaction(reply_on_chat=True)
    assert ignored == [f"assistant_interaction_config.{name}"]


@pytest.mark.parametrize("config", ["x", [], 3])
def test_settings_that_are_no_object_are_named(config: Any) -> None:
    """Settings that are no object leave the defaults, and are named."""
    assert read_interaction(config) == (Interaction(), ["assistant_interaction_config"])
