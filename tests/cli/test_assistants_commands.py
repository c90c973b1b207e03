"""`flask webcall assistants …`, over each backend that can be written to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask import Flask

from tests.cli.conftest import Run, loaded, run_on, table
from tests.support.deployment import ASSISTANTS, OWNER, STRANGER, MakeApp

NEW: dict[str, Any] = {
    "assistant_id": "new one",
    "assistant_created_by_email": OWNER,
    "assistant_prompt": "Zeile 1\nZeile ü {{name}}",
    "assistant_llm_model": "gpt-oddity",
    "assistant_llm_config": {"temperature": 0.5},
    "a_field_of_tomorrow": {"kept": [1, None, True]},
}


def shown(run: Run, assistant_id: str) -> Any:
    """Return a definition as `show` prints it."""
    return loaded(run("assistants", "show", assistant_id))


def ids(run: Run) -> set[str]:
    """Return the ids that are listed."""
    return {row["assistant_id"] for row in loaded(run("assistants", "list", "--json"))}


@pytest.mark.parametrize("form", [json.dumps, lambda value: yaml.safe_dump(value, allow_unicode=True)])
@pytest.mark.parametrize("source", ["file", "-"])
def test_put_stores_one_or_a_list(run: Run, tmp_path: Path, backend: str, form: Any, source: str) -> None:
    """JSON and YAML, a file and standard input, one and a list: all is stored, unknown fields kept."""
    path = tmp_path / "definition"
    path.write_text(form(NEW), "utf-8")
    given = ("-", form(NEW)) if source == "-" else (str(path), None)
    result = run("assistants", "put", given[0], answer=given[1])
    assert result.stdout == f"stored new one by the backend '{backend}'\n"
    # A model's name cannot be known to be wrong: it is warned of and stored.
    assert result.stderr == (
        "new one: warning: assistant_llm_model: neither provider/model nor a known provider's name\n"
    )
    assert shown(run, "new one") == NEW

    pair = [{**NEW, "assistant_llm_model": "openai/gpt-4.1-mini"}, {**NEW, "assistant_id": "second"}]
    run("assistants", "put", "-", answer=form(pair))
    assert [shown(run, one["assistant_id"]) for one in pair] == pair


def test_dates_in_yaml_stay_as_they_are_written(run: Run) -> None:
    """A date or time in YAML is stored as its text, in every backend."""
    text = f"assistant_id: dated\nassistant_created_by_email: {OWNER}\n"
    text += "since: 2024-02-29\nat: 2024-02-29 21:59:43 -5\n"
    run("assistants", "put", "-", answer=text)
    stored = shown(run, "dated")
    assert stored["at"] == "2024-02-29 21:59:43 -5"
    assert stored["since"] == "2024-02-29"


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ({"assistant_prompt": "{{#open}}"}, "assistant_prompt"),
        ({"assistant_id": "foreign"}, "foreign: another owner has this id"),
        ({"assistant_id": "new one"}, "assistant_id: stands twice"),
    ],
)
def test_all_are_checked_before_the_first_is_stored(run: Run, second: dict[str, Any], told: str) -> None:
    """A fault in the second definition of a file keeps the first from being stored, too."""
    before = ids(run)
    records = [NEW, {**NEW, "assistant_id": "second"} | second]
    result = run("assistants", "put", "-", answer=json.dumps(records), status=1)
    assert told in result.stderr
    assert result.stdout == ""
    assert ids(run) == before
    assert shown(run, "foreign")["assistant_created_by_email"] == STRANGER


FAULTS = {
    "unclosed section": ({"assistant_prompt": "{{#open}}"}, "assistant_prompt"),
    "partial": ({"assistant_prompt": "{{> other}}"}, "assistant_prompt"),
    "delimiters": ({"assistant_start_instruction": "{{=<% %>=}}"}, "assistant_start_instruction"),
    "too long": ({"assistant_prompt": "canary " * 10_000}, "assistant_prompt"),
    "overflows by itself": (
        {
            "assistant_prompt": "{{#items}}{{#items}}{{#items}}canary{{/items}}{{/items}}{{/items}}",
            "assistant_placeholder_defaults": {"items": list(range(50))},
        },
        "without any metadata",
    ),
    "overflows as typed chat": (
        {
            "assistant_prompt": "{{#call.text_only}}{{#l}}{{#l}}{{#l}}x{{/l}}{{/l}}{{/l}}{{/call.text_only}}",
            "assistant_placeholder_defaults": {"l": list(range(50))},
        },
        "without any metadata",
    ),
    "larger than LiveKit takes": ({"notes": "x" * 600_000}, "LiveKit takes"),
    "bad mode": ({"assistant_mode": "canary"}, "assistant_mode: not one of pipeline, realtime, cascade"),
    "no id": ({"assistant_id": None}, "definition 1: assistant record: assistant_id"),
    "number as id": ({"assistant_id": 7}, "assistant_id"),
    "id with space": ({"assistant_id": " new"}, "assistant_id: white space"),
    "long id": ({"assistant_id": "x" * 101}, "assistant_id: longer than"),
    "id of many bytes": ({"assistant_id": "鍵" * 81}, "assistant_id: longer than"),
    "id with a surrogate": ({"assistant_id": "a\ud800"}, "assistant_id: holds a lone surrogate"),
    "no owner": ({"assistant_created_by_email": ""}, "assistant_created_by_email"),
    "model as a list": ({"assistant_tts_model": ["canary"]}, "assistant_tts_model: not a string"),
    "config as text": ({"assistant_stt_config": "canary"}, "assistant_stt_config: not an object"),
}


@pytest.mark.parametrize(("change", "told"), FAULTS.values(), ids=FAULTS)
def test_check_finds(env_app: Flask, change: dict[str, Any], told: str) -> None:
    """Every fault is named by its field, with status 1 and without quoting the definition."""
    result = run_on(env_app, "canary")("assistants", "check", "-", answer=json.dumps(NEW | change), status=1)
    assert told in result.stderr
    assert result.stdout == ""


def test_check_warns_of_misspelt_fields(env_app: Flask) -> None:
    """A field that is nearly a known one is a warning with the one that is meant; others may be there."""
    own = {"assistant_colour": "canary", "note": "canary", "prompt": "canary"}
    given = NEW | own | {"assistnat_start_instruction": "canary", "assistant-prompt": "canary"}
    result = run_on(env_app, "canary")("assistants", "check", "-", answer=json.dumps(given))
    assert [line for line in result.stderr.splitlines() if "unknown" in line] == [
        f"{NEW['assistant_id']}: warning: {name}: unknown field; did you mean {meant}?"
        for name, meant in (
            ("assistnat_start_instruction", "assistant_start_instruction"),
            ("assistant-prompt", "assistant_prompt"),
        )
    ]
    # One that is missing for being misspelt is told so beside the fault.
    given = {name.replace("assistant_id", "assistnt_id"): value for name, value in NEW.items()}
    result = run_on(env_app)("assistants", "check", "-", answer=json.dumps(given), status=1)
    assert "warning: assistnt_id: unknown field; did you mean assistant_id?" in result.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no definition"),
        ("[]", "holds no definition"),
        ("just text", "definition 1: assistant record: not an object"),
        ("a: [canary", "neither YAML nor JSON: expected ',' or ']', but got '<stream end>' at line 1"),
        ("a: 1\ncanary: 2\ncanary: 3\n", "a field stands twice at line 3, column 1"),
        ('{"canary": 2, "canary": 3}', "a field stands twice"),
        ("[" * 100_000, "nested too deep"),
        ("a: &canary [*canary]", "nested too deep"),
    ],
)
def test_a_file_that_is_none_is_said_to_be_so(env_app: Flask, text: str, told: str) -> None:
    """What cannot be read as definitions is one line with status 1, and nothing of it is quoted."""
    result = run_on(env_app, "canary")("assistants", "check", "-", answer=text, status=1)
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_good_file_is_checked_and_not_stored(run: Run) -> None:
    """Check says that all is well, and stores nothing."""
    result = run("assistants", "check", "-", answer=json.dumps([NEW]))
    assert result.stdout == "1 checked: good\n"
    assert "new one" not in ids(run)


def test_the_list(run: Run, backend: str) -> None:
    """Every assistant of every owner is listed with its state, and no prompt."""
    rows = loaded(run("assistants", "list", "--json"))
    assert {row["assistant_id"] for row in rows} == {one["assistant_id"] for one in ASSISTANTS}
    assert [row["assistant_is_active"] for row in rows if row["assistant_id"] == "resting"] == [False]
    assert not [row for row in rows if "assistant_prompt" in row]
    assert ["helper", "Helper", OWNER, "pipeline", "True", backend] in table(run("assistants", "list"))


def test_show_gives_what_put_takes(run: Run) -> None:
    """A definition that is shown is the stored one whole, and can be put back."""
    printed = run("assistants", "show", "helper").stdout
    assert json.loads(printed) == ASSISTANTS[0]
    run("assistants", "put", "-", answer=printed)
    assert shown(run, "helper") == ASSISTANTS[0]


@pytest.mark.parametrize("command", ["show", "delete", "render"])
def test_an_unknown_id_names_the_stores_asked(run: Run, backend: str, command: str) -> None:
    """An id that no store has is one line with status 1."""
    told = run("assistants", command, "nobody", status=1).stderr
    assert told == f"Error: no store has an assistant nobody (asked: {backend})\n"


def test_delete_asks(run: Run) -> None:
    """A no changes nothing; a yes, or --yes, removes the definition."""
    run("assistants", "delete", "helper", answer="n\n", status=1)
    run("assistants", "delete", "helper", answer="", status=1)
    assert "helper" in ids(run)
    result = run("assistants", "delete", "helper", answer="y\n")
    assert f"Delete the assistant helper of {OWNER}" in result.stderr
    run("assistants", "delete", "other", "--yes")
    assert ids(run) == {one["assistant_id"] for one in ASSISTANTS} - {"helper", "other"}


def test_a_read_only_store_names_who_can_write(env_app: Flask, make_app: MakeApp, tmp_path: Path) -> None:
    """On assistants from the environment, commands that write say so, and name a backend that can."""
    run = run_on(env_app)
    given = json.dumps(NEW)
    assert "add file, sql or mongo there" in run("assistants", "put", "-", answer=given, status=1).stderr
    assert "'env' is read-only" in run("assistants", "delete", "helper", "--yes", status=1).stderr

    run = run_on(
        make_app({"WEBCALL_STORES": "env,file", "WEBCALL_ASSISTANTS_FILE": str(tmp_path / "a.json")})
    )
    assert "'file'" in run("assistants", "put", "-", answer=given).stdout
    told = run("assistants", "put", "-", "--backend", "env", answer=given, status=1).stderr
    assert told.endswith("Error: the backend 'env' cannot be written to; file can be\n")
    told = run("assistants", "delete", "helper", "--yes", status=1).stderr
    assert "of those in use, file can be written to" in told
    # The one that calls find first is the one that is shown, and the other is not passed over in silence.
    run("assistants", "put", "-", answer=json.dumps({**NEW, "assistant_id": "helper"}))
    result = run("assistants", "show", "helper")
    assert loaded(result) == ASSISTANTS[0]
    assert result.stderr == "this was the one in 'env'; the same id is in file too\n"


def test_render_fills_the_texts(run: Run) -> None:
    """Render prints the filled texts, as JSON too; a definition without texts is said to have none."""
    arguments = (
        "assistants",
        "render",
        "helper",
        "--metadata",
        "customer.name=Jo",
        "--metadata",
        "city=1.10",
    )
    assert loaded(run(*arguments, "--json")) == {
        "assistant_prompt": "You talk with Jo from 1.10.",
        "assistant_start_instruction": "Greet Jo.",
    }
    assert run(*arguments).stdout == (
        "assistant_prompt:\nYou talk with Jo from 1.10.\n\nassistant_start_instruction:\nGreet Jo.\n\n"
    )
    assert "neither a prompt" in run("assistants", "render", "other").stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("helper", "--metadata", "canary=" + "x" * 17_000), "at most 16384"),
        (("helper", "--metadata", 'canary="\\ud800"'), "lone surrogate"),
        (("broken",), "never"),
        (("speaker", "--text-only"), "no typed chat"),
    ],
)
def test_render_refuses_what_a_call_would(env_app: Flask, arguments: tuple[str, ...], told: str) -> None:
    """Where a call would fail, render fails, with one line and status 1."""
    result = run_on(env_app, "canary")("assistants", "render", *arguments, status=1)
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_what_is_stored_cannot_steer_the_terminal(run: Run) -> None:
    """Line breaks and escape sequences in a stored name are shown as text in a table."""
    run("assistants", "put", "-", answer=json.dumps({**NEW, "assistant_name": "a\n\x1b[31mred ü"}))
    result = run("assistants", "list")
    assert r"a\n\x1b[31mred ü" in result.stdout
    assert len(table(result)) == len(ASSISTANTS) + 1


def test_json_holds_nothing_that_a_terminal_obeys(run: Run) -> None:
    """Control characters beyond ASCII, and marks of a text's direction, are escapes; text stays as it is."""
    name = "\x9b2J \x7f \u202e \U000e0001 grüße \U0001f44d"
    run("assistants", "put", "-", answer=json.dumps({**NEW, "assistant_name": name}))
    told = run("assistants", "show", NEW["assistant_id"]).stdout
    assert r"\u009b2J \u007f \u202e \udb40\udc01 grüße 👍" in told
    assert told.replace("\n", "").isprintable()
    assert json.loads(told)["assistant_name"] == name
    assert name in [row["assistant_name"] for row in json.loads(run("assistants", "list", "--json").stdout)]


def test_what_is_stored_makes_no_line_of_check(run: Run) -> None:
    """Line breaks and escape sequences of a stored owner make no line of `check` or a question."""
    owner = "a@b.c\nok       livekit: fine\x1b[2J"
    run("assistants", "put", "-", answer=json.dumps({**NEW, "assistant_created_by_email": owner}))
    shown = r"a@b.c\nok       livekit: fine\x1b[2J"
    told = run("check", "--assistant", NEW["assistant_id"], status=1).stdout
    assert shown in told
    assert not [line for line in told.splitlines() if line.startswith("ok       livekit: fine")]
    assert shown in run("assistants", "delete", NEW["assistant_id"], answer="n\n", status=1).stderr
