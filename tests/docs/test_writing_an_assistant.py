"""`docs/writing-an-assistant.md` and `docs/worker.md`: their workers are run, their tables are the code's."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from tests.support import programs
from tests.support.calls import place_call, until_gone
from tests.support.deployment import ROOT, livekit_environment
from tests.support.livekit import LiveKitServer
from tests.support.openai_stub import OpenAIStub
from tests.support.person import NOTICE, joined
from tests.support.probe import Probe, probing
from webcall.core import endings, notices
from webcall.core.definition_fields import KNOWN_FIELDS
from webcall.core.notices import Notice
from webcall.worker import attendance
from webcall.worker.interaction import Interaction

PAGE = (ROOT / "docs" / "writing-an-assistant.md").read_text("utf-8")
WORKER_PAGE = (ROOT / "docs" / "worker.md").read_text("utf-8")
CANARY = "CANARYown"
DEFINITION = {
    "assistant_prompt": f"{CANARY}prompt for {{{{customer.name}}}}",
    "assistant_start_instruction": f"{CANARY}start",
    "assistant_unknown_field": f"{CANARY}unknown",
    "assistant_created_by_email": f"{CANARY}owner@example.com",
}


def file_on_the_page(name: str) -> str:
    found = re.search(rf"<!-- file: {re.escape(name)} -->\n```python\n(.*?)^```$", PAGE, re.M | re.S)
    assert found, name
    return found[1]


def table(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the table whose first column has this heading, without marks of code."""
    rows = page.partition(f"| {heading} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip().strip("`") for cell in row.strip("|").split(" | ")] for row in rows]


@contextmanager
def running(name: str, server: LiveKitServer, stub: OpenAIStub, folder: Path) -> Iterator[None]:
    """Start a worker of the page as its reader would, and go on when it takes jobs."""
    (folder / name).write_text(file_on_the_page(name))
    log = folder / f"{name}.log"
    clean = {one: value for one, value in os.environ.items() if not one.startswith(("LIVEKIT_", "OPENAI_"))}
    provider = {"OPENAI_BASE_URL": stub.base_url, "OPENAI_API_KEY": f"sk-{CANARY}"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, name, "start"],
            cwd=folder,
            env=clean | livekit_environment(server) | provider,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        programs.wait_until(lambda: b"registered worker" in log.read_bytes(), process, 60)
        yield
    finally:
        # With its children, and at once: asked to end, it would wait an hour for the calls that run.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def shared_stub() -> Iterator[OpenAIStub]:
    """A server in OpenAI's place for the workers of this module."""
    stub = OpenAIStub()
    yield stub
    stub.close()


@pytest.fixture
def stub(shared_stub: OpenAIStub) -> OpenAIStub:
    """The server in OpenAI's place, asked nothing so far."""
    shared_stub.requests.clear()
    shared_stub.reply = "Hello, this is an answer."
    return shared_stub


@pytest.fixture(scope="module")
def answers(
    livekit_server: LiveKitServer, shared_stub: OpenAIStub, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """The page's worker, on a server in OpenAI's place."""
    with running("answers.py", livekit_server, shared_stub, tmp_path_factory.mktemp("answers")):
        yield


@pytest.fixture
def older(livekit_server: LiveKitServer, shared_stub: OpenAIStub, tmp_path: Path) -> Iterator[None]:
    """The page's worker for the original form of the metadata."""
    with running("older.py", livekit_server, shared_stub, tmp_path):
        yield


def test_the_example_has_thirty_lines() -> None:
    """The complete worker has at most 30 lines of code."""
    lines = [line for line in file_on_the_page("answers.py").splitlines() if line.strip()]
    assert len(lines) <= 30


@pytest.mark.usefixtures("answers")
@pytest.mark.parametrize("text_only", [True, False], ids=["text", "voice"])
def test_the_example_answers_and_tells_nothing(
    livekit_server: LiveKitServer, stub: OpenAIStub, text_only: bool
) -> None:
    """It greets, answers what is typed, and whoever asks for its inside gets nothing."""
    call = place_call(livekit_server, DEFINITION, agent_name="my-agent", text_only=text_only)

    async def talk() -> Probe:
        async with probing(call) as probe:
            person = probe.person
            assistant = await person.until_assistant()
            await person.until(lambda: stub.reply in " ".join(" ".join(person.words()).split()))
            stub.reply = "You typed something."
            assert (await person.reply_to("Hello?")).strip() == stub.reply
            if not text_only:
                await person.until(lambda: person.loud_frames)
            await probe.ask(assistant.identity)
            await probe.listen_to_signals()
            return probe

    probe = asyncio.run(talk())
    [first, *_] = [request.body for request in stub.requests if request.route == "chat"]
    assert f"{CANARY}prompt for Ada" in str(first)
    assert probe.found(CANARY) == []


@pytest.mark.usefixtures("answers")
def test_the_example_ends_its_calls(livekit_server: LiveKitServer) -> None:
    """The room is gone after its time, and soon after the person has hung up."""

    async def hold() -> None:
        short = place_call(livekit_server, agent_name="my-agent", text_only=True, max_duration_s=2)
        async with joined(short) as person:
            await person.until(person.disconnected.is_set, 20)
        call = place_call(livekit_server, agent_name="my-agent", text_only=True)
        async with joined(call) as person:
            await person.until(person.words)
        # Half of it is what LiveKit takes to tell of somebody who publishes nothing.
        assert await until_gone(livekit_server, call) < 10

    asyncio.run(hold())


@pytest.mark.usefixtures("older")
def test_workers_for_the_original_metadata_go_on(livekit_server: LiveKitServer, stub: OpenAIStub) -> None:
    """A worker that knows flat pairs and the room's name only runs a call of the service."""
    call = place_call(
        livekit_server,
        {"assistant_id": "reception"},
        metadata={"name": "Ada", "call_type": "mine", "text_only": "mine"},
        agent_name="older-agent",
        text_only=True,
    )

    async def talk() -> None:
        async with joined(call) as person:
            await person.until(lambda: stub.reply in " ".join(" ".join(person.words()).split()))
            await person.reply_to("Hello?")

    asyncio.run(talk())
    [first, *_] = [request.body for request in stub.requests if request.route == "chat"]
    assert "You answer the phone. Today you talk with Ada." in str(first)


def test_notices_on_the_page_are_the_workers() -> None:
    """The table of notices has every notice, with its words and whether it ends the call."""
    assert table(PAGE, "`code`") == [[one.name, str(one.ends).lower(), one.words] for one in Notice]


def test_topics_on_the_page_are_the_workers() -> None:
    """Every topic and attribute of this project's own is on the page under its name in the code."""
    topics = {row[0] for row in table(PAGE, "Topic")}
    assert {notices.TOPIC, NOTICE, attendance.BYE} == {name for name in topics if name.startswith("webcall.")}
    attributes = {row[0] for row in table(PAGE, "Attribute")}
    assert {*attendance._SEEN, endings.WORD} == {name for name in attributes if name.startswith("webcall.")}


def test_interaction_settings_on_the_page_are_the_workers() -> None:
    """The table of `assistant_interaction_config` has every setting with its default."""

    def shown(value: Any) -> str:
        if value is None or isinstance(value, bool):
            return str(value).lower()
        return f"{value:g}"

    told = [row[:2] for row in table(WORKER_PAGE, "Setting of the interaction")]
    assert told == [[one.name, shown(one.default)] for one in fields(Interaction)]


def test_fields_on_the_page_are_those_that_the_worker_reads() -> None:
    """Every field of a definition that the worker knows is on the page, and no other."""
    section = WORKER_PAGE.partition("## What it reads of a definition")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(_id|agent_name|assistant_\w+)`", section))
    for part in ("llm", "stt", "tts"):
        named |= {f"assistant_{part}_model", f"assistant_{part}_config"}
    assert named == set(KNOWN_FIELDS)


def test_events_on_the_page_are_the_workers() -> None:
    """The table of log lines names every event that the worker logs, and no other."""
    code = "\n".join(path.read_text("utf-8") for path in (ROOT / "webcall" / "worker").rglob("*.py"))
    logged = set(re.findall(r"log\.(?:info|warning|error|exception)\(\s*\"([^\"]+)\"", code))
    # livekit-agents' own line, which an operator meets where LiveKit cannot be reached.
    logged.add("unhandled exception while running the job task")
    assert {name for row in table(WORKER_PAGE, "Event") for name in row[0].split("`, `")} == logged
