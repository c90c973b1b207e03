"""The README and the examples on the pages are what the service takes, answers and is set by."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from flask import Flask
from flask.testing import FlaskClient
from livekit import api

from scripts import sample
from scripts.settings_table import make_table, with_table
from tests.support.deployment import ROOT, MakeApp, bearer, livekit_environment, settings
from tests.support.livekit import LiveKitServer
from webcall.core.definition_fields import KNOWN_FIELDS
from webcall.core.dispatch import dispatch_metadata
from webcall.record_schemas import AssistantSchema, KeySchema
from webcall.records import hash_api_key
from webcall.startup import CacheSchema, prepare

README = (ROOT / "README.md").read_text("utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
KEY = "lvk_readme"
ROUTE = "/web_call/get_token"
TOKEN_SOURCE = "/web_call/token_source"

Json = dict[str, Any]


def blocks(text: str, language: str, mark: str = "") -> list[str]:
    """Return the fenced blocks of a language, those right under an HTML comment `mark` if one is given."""
    before = re.escape(f"<!-- {mark} -->") + r"\n" if mark else ""
    return re.findall(rf"^{before}```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def blocks_under(text: str, mark: str) -> list[str]:
    """Return the fenced blocks of any language right under an HTML comment `mark`."""
    return re.findall(rf"^<!-- {re.escape(mark)} -->\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def sample_app(make_app: MakeApp, livekit_server: LiveKitServer) -> Flask:
    """The sample assistant of `make run`, and a key of its owner."""
    keys = [{"api_key_hash": hash_api_key(KEY), "user_email": sample.OWNER}]
    environment = {"WEBCALL_VALIDATORS": "env", "WEBCALL_STORES": "env", "WEBCALL_API_KEYS": json.dumps(keys)}
    environment["WEBCALL_ASSISTANTS"] = json.dumps([sample.ASSISTANT])
    return make_app(environment | livekit_environment(livekit_server))


@pytest.fixture
def sample_client(sample_app: Flask) -> FlaskClient:
    return sample_app.test_client()


@pytest.fixture
def document(make_app: MakeApp) -> Json:
    """The OpenAPI document as it is served."""
    app = make_app({"LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": "s" * 32})
    answer = app.test_client().get("/openapi.json")
    assert answer.json is not None
    return dict(answer.json)


def schema(document: Json, part: Json) -> Json:
    """Return a part's schema as one that jsonschema can follow references in."""
    found = part["content"]["application/json"]["schema"]
    return {"allOf": [found], "components": document["components"]}


def test_settings_table_is_the_generated_one() -> None:
    """The table equals what the schemas say; `python -m scripts.settings_table` makes it anew."""
    assert with_table(README, make_table()) == README


def test_settings_table_has_what_an_operator_types() -> None:
    """A row holds path, variable, default and meaning, and no setting is left out."""
    rows = dict(re.findall(r"^\| `([\w.]+)` \| (.*) \|$", make_table(), re.MULTILINE))
    assert rows["livekit.api_secret"].startswith("`LIVEKIT_API_SECRET` | required | ")
    assert rows["http.docs"].startswith(" | `true` | ")
    assert rows["auth.validators"].startswith("`WEBCALL_VALIDATORS` | `env,file` | ")
    tree = settings()
    written = {f"{top}.{name}" for top, under in tree.items() if isinstance(under, dict) for name in under}
    written = {path for path in written if not path.startswith("backends.")} | {"plugins"}
    backends = {
        f"backends.{name}.{one}": told for name, of in tree["backends"].items() for one, told in of.items()
    }
    nested = backends.pop("backends.jwt.claims")
    written |= {*backends, *(f"backends.jwt.claims.{name}" for name in nested)}
    assert set(rows) == written
    caches = set(re.findall(r"^\| `backends\.\*\.(\w+)` \|", make_table(), re.MULTILINE))
    assert caches == {*CacheSchema().fields}


def test_status_table_is_the_documents(document: Json) -> None:
    """The README's statuses and what they mean are those of the OpenAPI document, in order."""
    responses = document["paths"][ROUTE]["post"]["responses"]
    assert "201" in document["paths"][TOKEN_SOURCE]["post"]["responses"]
    served = [(status, told["description"]) for status, told in responses.items() if status.isdigit()]
    served = sorted([*served, ("201", f"The same, of `{TOKEN_SOURCE}`.")])
    written = re.findall(r"^\| (\d{3}) \| (.+?) \| .+ \|$", README, re.MULTILINE)
    assert written == served


def test_request_table_is_the_documents(document: Json) -> None:
    """The README's fields of a request are those of the OpenAPI document."""
    body = document["paths"][ROUTE]["post"]["requestBody"]["content"]["application/json"]["schema"]
    fields = document["components"]["schemas"][body["$ref"].rpartition("/")[2]]["properties"]
    table = README.partition("| Field |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(fields)


def test_json_examples_are_of_the_documents_form(document: Json) -> None:
    """Every answer shown on a page fits the schema of its status."""
    responses = document["paths"][ROUTE]["post"]["responses"]
    shown = [json.loads(text) for page in PAGES for text in blocks(page.read_text("utf-8"), "json")]
    answers = [one for one in shown if "success" in one]
    assert [one["success"] for one in answers] == [True, False]
    for answer in answers:
        part = responses["200" if answer["success"] else "422"]
        jsonschema.validate(answer, schema(document, part))
        assert set(answer["data"]) == set(part["content"]["application/json"]["example"]["data"])


@pytest.mark.parametrize(("path", "status"), [(ROUTE, 200), (TOKEN_SOURCE, 201)])
def test_curl_lines_get_a_token(sample_client: FlaskClient, document: Json, path: str, status: int) -> None:
    """What each curl line sends is a good request, and the answer to it is the documented one."""
    [line] = [text for text in blocks(README, "sh") if text.startswith("curl") and path in text]
    words = shlex.split(line.replace("\\\n", " ").replace("$API_KEY", KEY))
    sent = [words[at + 1] for at, word in enumerate(words) if word == "-H"]
    body = words[words.index("-d") + 1]
    operation = document["paths"][path]["post"]
    jsonschema.validate(json.loads(body), schema(document, operation["requestBody"]))
    headers = dict(one.split(": ", 1) for one in sent)
    answer = sample_client.post(path, data=body, headers=headers)
    assert answer.status_code == status, answer.text
    jsonschema.validate(answer.json, schema(document, operation["responses"][str(status)]))


def test_what_a_token_source_answers(sample_client: FlaskClient) -> None:
    """The fields that the README names are those of the answer, and they stand at its top."""
    body = {"room_config": {"agents": [{"agent_name": sample.ASSISTANT_ID}]}}
    answer = sample_client.post(TOKEN_SOURCE, json=body, headers=bearer(KEY))
    [told] = re.findall(r"without the envelope:\n(.+?) stand at the top", README)
    assert answer.json is not None
    assert set(re.findall(r"`(\w+)`", told)) == set(answer.json)


def test_livekits_own_configuration_is_the_one_explained() -> None:
    """The README's short lines of LiveKit's configuration say what docs/deploy.md explains."""
    [short] = blocks_under(README, "livekit")
    deploying = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    [explained] = [text for text in blocks(deploying, "yaml") if text.startswith("room:")]
    told, meant = yaml.safe_load(short), yaml.safe_load(explained)
    assert told["room"] == meant["room"]
    assert told["webhook"]["urls"] == meant["webhook"]["urls"]


def test_own_assistant_and_key_get_a_token(
    make_app: MakeApp, livekit_server: LiveKitServer, tmp_path: Path
) -> None:
    """The README's record, stored by its commands, is called with its key by its curl line."""
    files = {"WEBCALL_API_KEYS_FILE": "keys.yaml", "WEBCALL_ASSISTANTS_FILE": "assistants.yaml"}
    environment = {name: str(tmp_path / file) for name, file in files.items()}
    for file in files.values():
        (tmp_path / file).write_text("[]\n")
    app = make_app(environment | livekit_environment(livekit_server))
    [record] = blocks_under(README, "file: reception.yaml")
    (tmp_path / "reception.yaml").write_text(record)
    [commands] = blocks_under(README, "own")
    put, create, curl = commands.replace("\\\n", " ").splitlines()
    stored = app.test_cli_runner().invoke(
        args=shlex.split(put.replace("reception.yaml", str(tmp_path / "reception.yaml")))[1:]
    )
    assert stored.exit_code == 0, stored.output
    [command] = re.findall(r"^RECEPTION_KEY=\$\(flask (.+?)\)", create)
    made = app.test_cli_runner().invoke(args=shlex.split(command))
    assert made.exit_code == 0, made.output
    words = shlex.split(curl.replace("$RECEPTION_KEY", made.stdout.strip()))
    headers = dict(words[at + 1].split(": ", 1) for at, word in enumerate(words) if word == "-H")
    answer = app.test_client().post(ROUTE, data=words[words.index("-d") + 1], headers=headers)
    assert answer.status_code == 200, answer.text


# What the worker alone reads.
ENDS_CALLS = {name for name in KNOWN_FIELDS if name.startswith("assistant_end_call_")}


@pytest.mark.parametrize(
    ("heading", "known"),
    [
        ("Assistant's field", {*AssistantSchema().fields, *ENDS_CALLS}),
        ("Key's field", {*KeySchema().fields, "created_at", "replaced_by"}),
    ],
)
def test_tables_of_records_have_the_fields_that_are_read(heading: str, known: set[str]) -> None:
    """Every field of a record that the service reads is in the README's table, and none that nobody knows."""
    table = README.partition(f"| {heading} |")[2].partition("\n\n")[0]
    names = {
        name for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE) for name in re.findall(r"\w+", row)
    }
    assert known <= names
    parts = {f"assistant_{part}_{what}" for part in ("llm", "stt", "tts") for what in ("model", "config")}
    texts = {"assistant_name", "assistant_description", "assistant_interaction_config"}
    assert names - known <= parts | texts


def test_error_example_is_what_the_service_answers(sample_client: FlaskClient) -> None:
    """The README's 422 is the answer to the misspelt field that it shows."""
    body = {"assistant_id": sample.ASSISTANT_ID, "metdata": {}}
    answer = sample_client.post(ROUTE, json=body, headers=bearer(KEY))
    [shown] = [json.loads(text) for text in blocks(README, "json") if '"success": false' in text]
    assert answer.json == shown


def test_own_endpoint_in_ten_lines_runs(
    livekit_server: LiveKitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code that the README compares this service with makes a room with one dispatch."""
    for name, value in livekit_environment(livekit_server).items():
        monkeypatch.setenv(name, value)
    [code] = blocks(README, "python", "run")
    names: Json = {}
    exec(code, names)

    async def place() -> tuple[Json, int]:
        made = await names["get_token"]("reception", {"name": "Ada"})
        async with livekit_server.api() as client:
            return made, len(await client.agent_dispatch.list_dispatch(made["room_name"]))

    made, dispatches = asyncio.run(place())
    assert dispatches == 1
    verifier = api.TokenVerifier(livekit_server.key, livekit_server.secret)
    claims = verifier.verify(made["token"])
    assert claims.video is not None
    assert claims.video.room == made["room_name"]


def test_plugin_in_ten_lines_is_a_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's small plugin loads by its module's name and knows its key."""
    [code] = blocks(README, "python", "file: staff.py")
    (tmp_path / "staff.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    [changed] = blocks_under(README, "changed: staff")
    tree = settings(**yaml.safe_load(changed))
    setup = prepare(tree, {"LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": "s" * 32})
    sys.modules.pop("staff")
    chosen, behind = setup.validators
    assert behind.backend.name == "file"
    validator = chosen.backend.factory(chosen.settings)
    assert validator.validate("s3cret").email == "ada@example.com"
    assert validator.validate("another") is None


def test_dispatch_example_is_what_the_agent_gets() -> None:
    """The dispatch's metadata on the page is what the code makes of the same call."""
    [text] = blocks((ROOT / "docs" / "livekit.md").read_text("utf-8"), "json", "dispatch")
    shown = json.loads(text)
    made = dispatch_metadata(
        room=shown["web_call"]["room_name"],
        definition=shown["web_call"]["assistant"],
        metadata=shown["web_call"]["metadata"],
        text_only=False,
        max_duration_s=3600,
    )
    assert json.loads(made) == shown


def test_log_line_example_has_the_fields_of_a_real_one(
    sample_client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The log line on the page has the very fields of the line that a call writes."""
    [text] = blocks((ROOT / "docs" / "operating.md").read_text("utf-8"), "json", "log")
    sample_client.post(ROUTE, json={"assistant_id": sample.ASSISTANT_ID}, headers=bearer(KEY))
    [record] = [record for record in caplog.records if record.name == "webcall.request"]
    assert isinstance(record.msg, dict)
    assert set(json.loads(text)) == set(record.msg)
