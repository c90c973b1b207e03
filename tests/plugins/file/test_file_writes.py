"""Writing records: what stays as a person wrote it, who may write, and that nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.file import editing
from plugins.file.editing import Edit, change_file, change_folder
from plugins.file.parsing import ASSISTANTS
from webcall import BackendError, Conflict, RecordError
from webcall.records import hash_api_key


def hashed(record):
    """Return a key's record with the hash in the place of the plain key."""
    fields = {name: value for name, value in record.items() if name != "api_key"}
    return {**fields, "api_key_hash": hash_api_key(record["api_key"])}


def test_keys_are_added_changed_and_found_again(tmp_path, open_keys, a_key):
    """A key is stored with times as RFC 3339 text, changed by its hash, and a field set to None goes."""
    keys = open_keys(tmp_path / "keys.yaml", may_be_missing=True)
    keys.add_key(hashed(a_key("k", expires_at=datetime(2099, 1, 2, tzinfo=UTC), org_name="o", note=None)))
    with pytest.raises(Conflict):
        keys.add_key({"api_key_hash": hash_api_key("k"), "user_email": "x@example.com"})
    keys.add_key(hashed(a_key("l")))
    with pytest.raises(RecordError, match="never written"):
        keys.add_key(a_key("m"))
    changes = {"api_key": None, "api_key_hash": hash_api_key("k"), "org_name": None, "user_name": "n"}
    assert keys.update_key(hash_api_key("k"), changes) is True
    assert keys.update_key(hash_api_key("m"), changes) is False
    with pytest.raises(Conflict):
        keys.update_key(hash_api_key("l"), changes)
    with pytest.raises(RecordError):
        keys.update_key(hash_api_key("l"), {"user_email": None})
    with pytest.raises(RecordError):
        keys.add_key({"user_email": "o"})
    assert list(keys.list_keys()) == [
        {
            "user_email": "owner@example.com",
            "expires_at": "2099-01-02T00:00:00Z",
            "note": None,
            "api_key_hash": hash_api_key("k"),
            "user_name": "n",
        },
        hashed(a_key("l")),
    ]
    assert keys.validate("k").name == "n"


@pytest.mark.parametrize("name", ["a.yaml", "a.json", "folder"])
def test_assistants_are_put_and_deleted(tmp_path, open_assistants, owner, an_assistant, name):
    """Each form stores, replaces and removes; another owner's id is a conflict; modes are private."""
    path = tmp_path / "new" / "deep" / name
    store = open_assistants(path)
    ids = ["a", "../b", ".c", "A", "é" * 80, "é" * 80 + "x", "%2e", "lone \ud800"]
    if name == "a.yaml":
        with pytest.raises(RecordError, match=r"store it in a \.json file"):
            store.put_assistant(an_assistant(ids[-1]))
    if name != "a.json":
        ids.pop()
    for assistant_id in ids:
        store.put_assistant(an_assistant(assistant_id, n=1))
        store.put_assistant(an_assistant(assistant_id, n=2))
        assert store.get(assistant_id, owner).record["n"] == 2
    assert sorted(each["assistant_id"] for each in store.list_assistants()) == sorted(ids)
    with pytest.raises(Conflict):
        store.put_assistant({**an_assistant("a"), "assistant_created_by_email": "x@example.com"})
    with pytest.raises(RecordError):
        store.put_assistant({"assistant_id": "z"})
    for assistant_id in ids:
        assert store.delete_assistant(assistant_id) is True
        assert store.delete_assistant(assistant_id) is False
        assert store.find_assistant(assistant_id) is None
    store.put_assistant(an_assistant("last"))
    made = [tmp_path / "new", *(tmp_path / "new").rglob("*")]
    assert not [each for each in made if each.suffix == ".tmp"]
    assert {each.stat().st_mode & 0o777 for each in made if each.is_dir()} == {0o700}
    assert {each.stat().st_mode & 0o777 for each in made if each.is_file()} == {0o600}
    if name == "a.json":
        assert isinstance(json.loads(path.read_text()), list)


HAND_WRITTEN = """\
# Our assistants.   Ask Ann before a change.
---
  # the first
  - assistant_id: a   # an inner remark
    assistant_created_by_email: owner@example.com
    assistant_prompt: |
      - not an entry
      # not a comment

  # the second: 'quoted' on purpose

  - "assistant_id": 'b'
    assistant_created_by_email: owner@example.com
    tags:
    - x
    - {deep: [y]}
  -
    assistant_id: c
    assistant_created_by_email: owner@example.com # no newline behind this
  # the end
..."""


def test_comments_and_layout_of_a_yaml_file_survive(tmp_path, open_assistants, an_assistant):
    """A change touches the lines of its own entry; every other byte stays."""
    path = tmp_path / "a.yaml"
    path.write_text(HAND_WRITTEN)
    store = open_assistants(path)
    first = HAND_WRITTEN.index("  - assistant_id: a")
    before_second = HAND_WRITTEN.index("  # the second")
    second = HAND_WRITTEN.index('  - "assistant_id"')
    third = HAND_WRITTEN.index("  -\n")
    end = HAND_WRITTEN.index("  # the end")

    store.put_assistant(an_assistant("a", assistant_prompt="one\ntwo\n"))
    replaced = (
        "  - assistant_id: a\n    assistant_created_by_email: owner@example.com\n"
        "    assistant_prompt: |\n      one\n      two\n"
    )
    rest = HAND_WRITTEN[before_second:]
    assert path.read_text() == HAND_WRITTEN[:first] + replaced + rest
    assert store.delete_assistant("b")
    store.put_assistant(an_assistant("d"))
    added = "  - assistant_id: d\n    assistant_created_by_email: owner@example.com\n"
    assert path.read_text() == (
        HAND_WRITTEN[:first]
        + replaced
        + HAND_WRITTEN[before_second:second]
        + HAND_WRITTEN[third:end]
        + added
        + HAND_WRITTEN[end:]
    )
    assert [each["assistant_id"] for each in store.list_assistants()] == ["a", "c", "d"]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("# mine\n", "# mine\n"),
        ("# mine", "# mine\n"),
        ("[]", ""),
        ("[{assistant_id: b, assistant_created_by_email: owner@example.com}]", ""),
        (
            "- &x {assistant_id: b, assistant_created_by_email: owner@example.com}\r\n# c\r\n",
            "- &x {assistant_id: b, assistant_created_by_email: owner@example.com}\r\n",
        ),
    ],
)
def test_every_form_of_a_list_takes_another_entry(tmp_path, open_assistants, an_assistant, text, kept):
    """An empty file, comments alone, flow style, CRLF and a missing last newline all take a record."""
    path = tmp_path / "a.yaml"
    path.write_bytes(text.encode())
    store = open_assistants(path)
    before = list(store.list_assistants())
    store.put_assistant(an_assistant("a"))
    assert list(store.list_assistants()) == [*before, an_assistant("a")]
    assert path.read_bytes().decode().startswith(kept)


def test_an_entry_that_others_refer_to_may_go(tmp_path, open_assistants, an_assistant):
    """Where cutting out lines would break a YAML anchor, the file is written anew with all records."""
    path = tmp_path / "a.yaml"
    path.write_text(
        "- &a {assistant_id: a, assistant_created_by_email: owner@example.com, n: 1}\n"
        "- {<<: *a, assistant_id: b}\n"
    )
    store = open_assistants(path)
    assert store.delete_assistant("a")
    assert list(store.list_assistants()) == [
        {"n": 1, "assistant_created_by_email": "owner@example.com", "assistant_id": "b"}
    ]


def test_a_folders_file_keeps_its_name_and_comments(tmp_path, open_assistants, an_assistant):
    """A change to one assistant changes its fields' lines in the file that holds it, and no other file."""
    hand_made = tmp_path / "my own name.yml"
    hand_made.write_text(
        "# Ann's\nassistant_id: a # id\nn: 1\n# kept\nassistant_created_by_email: owner@example.com\nold: 1\n"
    )
    store = open_assistants(tmp_path)
    store.put_assistant(an_assistant("a", n=2, new="x"))
    assert hand_made.read_text() == (
        "# Ann's\nassistant_id: a # id\nn: 2\n# kept\nassistant_created_by_email: owner@example.com\nnew: x\n"
    )
    store.put_assistant(an_assistant("my own name"))
    assert sorted(each.name for each in tmp_path.glob("*.y*ml")) == [
        "my own name.yml",
        "my%20own%20name.yaml",
    ]


def test_a_name_that_is_taken_is_left_alone(tmp_path, open_assistants, an_assistant):
    """A new assistant whose file's name holds another assistant gets a name of its own."""
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(an_assistant("other")))
    store = open_assistants(tmp_path)
    store.put_assistant(an_assistant("a"))
    assert sorted(each["assistant_id"] for each in store.list_assistants()) == ["a", "other"]


def test_a_link_stays_a_link_and_a_failed_write_changes_nothing(tmp_path, open_keys, a_key, monkeypatch):
    """A write goes to the file behind a link; one that fails is a `BackendError` and leaves no trace."""
    real = tmp_path / "real.json"
    real.write_text("[]")
    link = tmp_path / "link.json"
    link.symlink_to(real)
    keys = open_keys(link)
    keys.add_key(hashed(a_key("k")))
    assert link.is_symlink()
    assert json.loads(real.read_text()) == [hashed(a_key("k"))]
    content = real.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BackendError, match="cannot be written: No space left"):
        keys.add_key(hashed(a_key("l")))
    assert real.read_bytes() == content
    assert not list(tmp_path.glob(".*.tmp"))


WRITER = """
    import sys
    from pathlib import Path
    from plugins.file import FileAssistants, FileKeys
    from webcall.records import hash_api_key
    kind, path, name = sys.argv[1:]
    store = (FileKeys if kind == "keys" else FileAssistants)(Path(path), may_be_missing=True)
    sys.stdin.read()
    for number in range(15):
        if kind == "keys":
            api_key_hash = hash_api_key(f"{name}{number}")
            store.add_key({"api_key_hash": api_key_hash, "user_name": f"{name}{number}", "user_email": "o"})
        else:
            store.put_assistant({"assistant_id": f"{name}{number}", "assistant_created_by_email": "o"})
"""


@pytest.mark.parametrize(
    ("kind", "file"),
    [("keys", "k.yaml"), ("keys", "k.json"), ("assistants", "folder"), ("assistants", "a.yaml")],
)
def test_two_processes_that_write_at_once_lose_nothing(tmp_path, open_keys, open_assistants, kind, file):
    """Every record that either of two writers stored is there afterwards."""
    path = tmp_path / file
    code = textwrap.dedent(WRITER)
    root = Path(editing.__file__).parents[2]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, kind, path, name], stdin=subprocess.PIPE, text=True, cwd=root
        )
        for name in ("a", "b")
    ]
    for writer in writers:
        writer.stdin.close()  # both begin once both are up
    assert [writer.wait(60) for writer in writers] == [0, 0]
    if kind == "keys":
        found = {each["user_name"] for each in open_keys(path).list_keys()}
    else:
        found = {each["assistant_id"] for each in open_assistants(path).list_assistants()}
    assert found == {f"{name}{number}" for name in "ab" for number in range(15)}


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
RECORDS = st.builds(
    lambda fields, prompt: {
        **fields, "assistant_id": "b", "assistant_created_by_email": "o", "assistant_prompt": prompt
    },
    st.dictionaries(TEXT.filter(lambda name: not name.startswith("a")), VALUES, max_size=3),
    TEXT,
)  # fmt: skip
AROUND = "# top\n- {assistant_id: a, assistant_created_by_email: o}\n# middle\n"


@settings(max_examples=60, deadline=None)
@given(first=RECORDS, second=RECORDS)
@pytest.mark.parametrize("form", ["yaml", "json", "folder"])
def test_what_is_written_is_what_is_read(tmp_path_factory, form, first, second):
    """Any record comes back as it was put, added or replaced, and comments around it stay."""
    seen = []

    def put(record, position):
        def plan(records):
            seen.append(list(records))
            return record and Edit(position, record)

        folder = tmp_path_factory.getbasetemp() / f"written-{os.getpid()}-{form}"
        folder.mkdir(exist_ok=True)
        if form == "folder":
            (change_folder if position is not None or len(seen) > 1 else _fresh_folder)(
                folder, ASSISTANTS, plan
            )
            return folder
        path = folder / f"a.{form}"
        if len(seen) == 0:
            path.write_text(AROUND if form == "yaml" else "[]")
        change_file(path, ASSISTANTS, plan)
        return path

    def _fresh_folder(folder, kind, plan):
        for each in folder.glob("*.yaml"):
            each.unlink()
        change_folder(folder, kind, plan)

    position = 1 if form == "yaml" else 0
    put(first, None)
    put(second, position)
    path = put(None, None)
    assert seen[1][position] == first
    assert seen[2][position] == second
    if form == "yaml":
        text = path.read_text(encoding="utf-8")
        assert text.startswith(AROUND.removesuffix("# middle\n"))
        assert "\n# middle\n" in text
