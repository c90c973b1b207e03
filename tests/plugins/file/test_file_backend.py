"""Reading keys and assistants from files: formats, faults and what the settings refuse."""

from __future__ import annotations

import json
import os

import pytest
import yaml
from marshmallow import ValidationError

import plugins.file as plugin
from plugins.file import FileAssistants, FileKeys, SettingsSchema
from webcall import BackendError, Caller, RecordError, Refused
from webcall.records import hash_api_key

KEYS = [
    {"api_key_hash": hash_api_key("hashed"), "user_email": "a@example.com", "allowed_assistants": ["x"]},
    {"api_key": "plain", "user_email": "b@example.com"},
    {"api_key": "revoked", "user_email": "c@example.com", "is_active": False},
    {"api_key": "expired", "user_email": "d@example.com", "expires_at": "2020-01-01T00:00:00Z"},
    {"api_key": "lone \ud800", "user_email": "e@example.com"},
]


def test_both_hooks_offer_the_backend_with_one_schema():
    """The keys and the assistants are offered under the name `file` with the same settings."""
    (keys,), (assistants,) = plugin.webcall_key_validators(), plugin.webcall_assistant_stores()
    assert keys.name == assistants.name == "file"
    assert keys.settings_schema is assistants.settings_schema is SettingsSchema


def test_defaults_are_relative_and_mean_that_nothing_was_stored_yet(tmp_path, monkeypatch):
    """With the default paths and no files, nothing is known and nothing is wrong."""
    monkeypatch.chdir(tmp_path)
    settings = SettingsSchema().load({})
    keys = plugin.webcall_key_validators()[0].factory(settings)
    assistants = plugin.webcall_assistant_stores()[0].factory(settings)
    assert isinstance(keys, FileKeys)
    assert isinstance(assistants, FileAssistants)
    assert (keys.validate("k"), keys.ping(), list(keys.list_keys())) == (None, None, [])
    assert assistants.get("a", Caller(email="x")) is None
    keys.add_key({"api_key_hash": hash_api_key("k"), "user_email": "a@example.com"})
    assert (tmp_path / "instance" / "api_keys.yaml").is_file()
    assert keys.validate("k").email == "a@example.com"


def test_a_missing_file_of_the_operators_choice_is_an_outage(tmp_path):
    """A path that was set and holds nothing raises, and never answers that the key is unknown."""
    chosen = {"api_keys": str(tmp_path / "k.yaml"), "assistants": str(tmp_path / "a.yaml")}
    settings = SettingsSchema().load(chosen)
    keys = plugin.webcall_key_validators()[0].factory(settings)
    assistants = plugin.webcall_assistant_stores()[0].factory(settings)
    for ask in (
        lambda: keys.validate("k"),
        keys.ping,
        keys.list_keys,
        lambda: keys.update_key("0" * 64, {}),
        lambda: assistants.get("a", Caller(email="x")),
        lambda: assistants.find_assistant("a"),
        lambda: assistants.delete_assistant("a"),
    ):
        with pytest.raises(BackendError, match="no such file"):
            ask()


def test_settings_refuse_what_exists_and_cannot_be_read(tmp_path, monkeypatch):
    """A folder of keys, a pipe, a file without permission and an empty path are faults of the settings."""
    (tmp_path / "keys.yaml").write_text("[]")
    os.mkfifo(tmp_path / "pipe")
    faults = []
    for name, value in (("api_keys", tmp_path), ("assistants", tmp_path / "pipe"), ("assistants", "")):
        with pytest.raises(ValidationError) as caught:
            SettingsSchema().load({name: str(value)})
        faults += caught.value.messages[name]
    assert [each.replace(str(tmp_path), "F") for each in faults] == [
        "F is a folder; name a YAML or JSON file",
        "F/pipe is neither a file nor a folder",
        "not a path",
    ]
    good = {"api_keys": str(tmp_path / "keys.yaml"), "assistants": str(tmp_path)}
    assert SettingsSchema().load(good) == good
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may read all
    with pytest.raises(ValidationError, match="cannot be read"):
        SettingsSchema().load(good)


@pytest.mark.parametrize("name", ["keys.json", "keys.yaml", "keys.YML", "keys.JSON"])
def test_keys_are_found_whatever_the_format(tmp_path, name):
    """Hashed and plain keys are known, revoked and expired ones refused, others unknown."""
    path = tmp_path / name
    # The C loader knows no lone surrogates; JSON does.
    stored = KEYS if name.lower().endswith("json") else KEYS[:-1]
    dump = json.dumps if name.lower().endswith("json") else yaml.safe_dump
    path.write_text("\ufeff" + dump(stored), encoding="utf-8")
    keys = FileKeys(path)
    assert keys.validate("hashed").allowed_assistants == {"x"}
    assert keys.validate("plain").email == "b@example.com"
    for api_key in ("revoked", "expired"):
        with pytest.raises(Refused):
            keys.validate(api_key)
    assert keys.validate(hash_api_key("hashed")) is None
    assert keys.validate("\udfff") is None
    assert (keys.validate("lone \ud800") is not None) == (len(stored) == len(KEYS))
    assert list(keys.list_keys()) == stored


def test_yaml_times_are_kept_as_text(tmp_path):
    """A time or date that YAML reads as such is RFC 3339 text in the record, and is obeyed."""
    path = tmp_path / "keys.yaml"
    path.write_text(
        "- {api_key: a, user_email: o, created_at: 2024-05-06 07:08:09, expires_at: 2099-01-31}\n"
        "- {api_key: b, user_email: o, expires_at: 2020-01-01T00:00:00+02:00}\n"
    )
    keys = FileKeys(path)
    first, second = keys.list_keys()
    assert (first["created_at"], first["expires_at"]) == ("2024-05-06T07:08:09Z", "2099-01-31")
    assert second["expires_at"] == "2020-01-01T00:00:00+02:00"
    assert keys.validate("a").email == "o"
    with pytest.raises(Refused):
        keys.validate("b")


@pytest.mark.parametrize("folder", [False, True])
def test_assistants_of_a_file_or_a_folder(tmp_path, owner, an_assistant, folder):
    """The owner gets an assistant with unknown fields, a stranger None, and an inactive one is refused."""
    records = [an_assistant("a", own={"field": 1}), an_assistant("b é", assistant_is_active=False)]
    path = tmp_path / "assistants"
    if folder:
        path.mkdir()
        (path / "unrelated name.yml").write_text(yaml.safe_dump(records[0]))
        (path / "other.json").write_text(json.dumps(records[1]))
        (path / ".hidden.yaml").write_text(": no YAML")
        (path / "README.md").write_text("not a record")
        (path / "sub.yaml").mkdir()
    else:
        path.write_text(yaml.safe_dump(records))
    store = FileAssistants(path)
    assert store.ping() is None
    assert store.get("a", owner).record["own"] == {"field": 1}
    assert store.get("a", Caller(email="stranger@example.com")) is None
    assert store.get("b é", Caller(email="stranger@example.com")) is None
    with pytest.raises(Refused):
        store.get("b é", owner)
    assert store.get("c \ud800", owner) is None
    assert store.find_assistant("b é") == records[1]
    assert sorted(each["assistant_id"] for each in store.list_assistants()) == ["a", "b é"]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("k.json", "{", "line 1, column 2: not JSON"),
        ("k.json", "[NaN]", "a number, a time or a name"),
        ("k.json", '{"api_key": "s3cret"}', "not a list"),
        ("k.json", "[" * 100_000, "nested too deeply"),
        ("k.json", '["s3cret"]', "record 1: not an object"),
        ("k.yaml", "- api_key: 's3cret", "not YAML: found unexpected end of stream"),
        ("k.yaml", "- [',' s3cret]", "line 1, column 8: not YAML: did not find expected ',' or ']'"),
        ("k.yaml", "- *s3cret", "line 1, column 3: not YAML"),
        ("k.yaml", "- &a [*a]", "aliases hold more"),
        (
            "k.yaml",
            f"- &a [{'x,' * 9}]\n- &b [{'*a,' * 9}]\n- [{'*b,' * 9}]",
            "aliases hold more",
        ),
        ("k.yaml", "- !s3cret x", "line 1, column 3: not YAML"),
        ("k.yaml", "- {expires_at: 2020-99-99}", "a number, a time or a name"),
        ("k.yaml", "a: 1\n---\nb: 2", "not YAML"),
        ("k.yaml", "- {api_key: s3cret, user_email: o}\n- {api_key: s3cret2}", "record 2: user_email: "),
        ("k.yaml", "- {api_key_hash: s3cret, user_email: o}", "record 1: api_key_hash: not 64"),
        ("k.yaml", "- {user_email: s3cret}", "record 1: api_key_hash: missing"),
        (
            "k.yaml",
            f"- {{api_key: s3cret, user_email: o}}\n"
            f"- {{api_key_hash: {hash_api_key('s3cret')}, user_email: p}}",
            "record 2: api_key_hash: the same as in ",
        ),
        ("k.yaml", b"- \xff", "byte 2: not UTF-8"),
    ],
)
def test_faults_name_the_place_and_no_value(tmp_path, caplog, name, text, told):
    """An unusable file is an outage whose message and log name path, place and field alone."""
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    keys = FileKeys(path)
    with pytest.raises(BackendError) as caught:
        keys.validate("s3cret")
    assert told in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert str(caught.value) in caplog.text
    assert "s3cret" not in caplog.text + str(caught.value)
    assert hash_api_key("s3cret") not in caplog.text
    with pytest.raises(RecordError):  # nothing is written over what a person may still fix
        keys.add_key({"api_key": "k", "user_email": "o"})
    assert path.read_bytes() == (text if isinstance(text, bytes) else text.encode())


def test_a_folder_is_used_as_a_whole(tmp_path, an_assistant):
    """A second file with the same id, or one that holds a list, is a fault that names the file."""
    (tmp_path / "a.json").write_text(json.dumps(an_assistant("same")))
    (tmp_path / "b.json").write_text(json.dumps(an_assistant("same")))
    with pytest.raises(BackendError, match=r"b\.json: assistant_id: the same as in .*a\.json"):
        FileAssistants(tmp_path).ping()
    (tmp_path / "b.json").write_text(json.dumps([an_assistant("other")]))
    with pytest.raises(BackendError, match=r"b\.json: not one record"):
        FileAssistants(tmp_path).ping()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("k.json", '[{"api_key_hash": "%s", "user_email": "o", "is_active": false, "is_active": true}]'),
        ("k.yaml", "- api_key_hash: %s\n  user_email: o\n  is_active: false\n  is_active: true\n"),
    ],
)
def test_a_field_that_stands_twice_is_a_fault(tmp_path, open_keys, name, text):
    """A revoked key does not come back because a second is_active follows the first."""
    path = tmp_path / name
    path.write_text(text % hash_api_key("k"))
    with pytest.raises(BackendError, match="twice"):
        open_keys(path).validate("k")
