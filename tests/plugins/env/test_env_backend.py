"""The backend `env`: which variables count, and what is said of a malformed one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from marshmallow import ValidationError

import plugins.env
from plugins.env.settings import EnvSettings
from webcall import Caller
from webcall.interfaces import ManagesAssistants, ManagesKeys
from webcall.records import hash_api_key

CANARY = "c4n4ry-value"
KEY = {"api_key": "lvk_one-plain-key", "user_email": "ada@example.com"}
ASSISTANT = {"assistant_id": "a", "assistant_created_by_email": "ada@example.com"}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WEBCALL_API_KEYS", "WEBCALL_API_KEY", "WEBCALL_OWNER", "WEBCALL_ASSISTANTS"):
        monkeypatch.delenv(name, raising=False)


def load(name: str) -> Any:
    [backend] = getattr(plugins.env, name)()
    return backend.factory(backend.settings_schema().load({}))


def faults() -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as caught:
        EnvSettings().load({})
    return caught.value.normalized_messages()


@pytest.mark.parametrize("text", [None, "", "  ", "[]"])
def test_empty_variables_mean_none(monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    """Variables that are unset or empty hold no record and are no fault."""
    for name in ("WEBCALL_API_KEYS", "WEBCALL_ASSISTANTS"):
        if text is not None:
            monkeypatch.setenv(name, text)
    assert EnvSettings().load({}) == {"api_keys": [], "assistants": []}
    assert load("webcall_key_validators").validate("") is None


def test_one_plain_key_counts_beside_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of WEBCALL_API_KEY is WEBCALL_OWNER's, and counts beside those of WEBCALL_API_KEYS."""
    monkeypatch.setenv("WEBCALL_API_KEYS", json.dumps([KEY]))
    monkeypatch.setenv("WEBCALL_API_KEY", "lvp_a-page's-key\n")
    keys = load("webcall_key_validators")
    page = Caller(email="owner@localhost", key_id="lvp_a-page's", publishable=True)
    assert keys.validate("lvp_a-page's-key") == page
    assert keys.validate("lvk_one-plain-key") == Caller(
        email="ada@example.com", key_id=hash_api_key("lvk_one-plain-key")[:12]
    )
    monkeypatch.setenv("WEBCALL_OWNER", "eve@example.com")
    assert load("webcall_key_validators").validate("lvp_a-page's-key").email == "eve@example.com"


def test_environment_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What changes in the environment after the start-up changes nothing."""
    monkeypatch.setenv("WEBCALL_API_KEY", "first")
    keys = load("webcall_key_validators")
    monkeypatch.setenv("WEBCALL_API_KEY", "second")
    assert keys.validate("first") is not None
    assert keys.validate("second") is None


def test_loaded_settings_hold_no_plain_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings, which a command may print, hold the hash of a plain key and not the key."""
    monkeypatch.setenv("WEBCALL_API_KEYS", json.dumps([KEY]))
    monkeypatch.setenv("WEBCALL_API_KEY", "lvk_another-plain-key")
    text = str(EnvSettings().load({}))
    assert hash_api_key("lvk_another-plain-key") in text
    assert "plain-key" not in text


def test_backend_is_read_only() -> None:
    """Neither side offers to write."""
    assert not isinstance(load("webcall_key_validators"), ManagesKeys)
    assert not isinstance(load("webcall_assistant_stores"), ManagesAssistants)


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("WEBCALL_API_KEYS", f'[{{"api_key": "{CANARY}"', "not JSON"),
        ("WEBCALL_API_KEYS", json.dumps(KEY), "not a JSON array"),
        ("WEBCALL_API_KEYS", "[" * 100_000, "nested too deep"),
        ("WEBCALL_API_KEYS", "[" + "9" * 5_000 + "]", "a number too long"),
        ("WEBCALL_API_KEYS", json.dumps([CANARY]), "record 1: "),
        ("WEBCALL_API_KEYS", json.dumps([KEY, {"api_key": CANARY}]), "record 2: user_email: missing"),
        ("WEBCALL_API_KEYS", json.dumps([{"user_email": CANARY}]), "record 1: api_key_hash"),
        ("WEBCALL_API_KEYS", json.dumps([{**KEY, "is_active": CANARY}]), "is_active"),
        ("WEBCALL_API_KEYS", json.dumps([KEY, KEY]), "record 2: the same key as record 1"),
        ("WEBCALL_ASSISTANTS", json.dumps([{"assistant_prompt": CANARY}]), "assistant_id"),
        (
            "WEBCALL_ASSISTANTS",
            json.dumps([ASSISTANT, ASSISTANT]),
            "the same assistant_id as record 1",
        ),
    ],
)
def test_malformed_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, said: str
) -> None:
    """A malformed variable is a fault by its name, the record's position and field, without values."""
    monkeypatch.setenv(variable, text)
    found = faults()
    assert list(found) == [variable]
    assert said in str(found)
    assert CANARY not in str(found)
    assert KEY["api_key"] not in str(found)


def test_every_fault_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All malformed records of all variables are told in one go."""
    monkeypatch.setenv("WEBCALL_API_KEYS", json.dumps([{}, KEY, {}]))
    monkeypatch.setenv("WEBCALL_ASSISTANTS", "{")
    found = faults()
    assert [line.split(":")[0] for line in found["WEBCALL_API_KEYS"]] == ["record 1", "record 3"]
    assert len(found["WEBCALL_ASSISTANTS"]) == 1


def test_key_in_both_variables_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """One key with two records, perhaps of two owners, is a fault."""
    monkeypatch.setenv("WEBCALL_API_KEYS", json.dumps([KEY]))
    monkeypatch.setenv("WEBCALL_API_KEY", KEY["api_key"])
    assert "WEBCALL_API_KEYS too" in faults()["WEBCALL_API_KEY"][0]


def test_unknown_setting_is_a_fault() -> None:
    """The backend has no settings under its name."""
    with pytest.raises(ValidationError):
        EnvSettings().load({"api_keys": []})
