"""What `make run` chooses by itself, and what it says of that."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from scripts import plan
from scripts.guide import describe, write_environment
from scripts.plan import OPENAI_MODELS, make_plan, worker_choices
from tests.support.deployment import settings


def test_nothing_that_is_given_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ports in use others are chosen, each its own; what is given stays, an empty value is none."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        held = holder.getsockname()[1]
        for name in plan.WORKER_PORTS:
            monkeypatch.setitem(plan.WORKER_PORTS, name, held)
        monkeypatch.setattr(plan, "WATCH_PORT", held)
        chosen = worker_choices({"WEBCALL_PLAYGROUND": ""})
    ports = {int(chosen[name]) for name in plan.WORKER_PORTS}
    ports.add(int(chosen["WEBCALL_WATCH_BIND"].removeprefix("127.0.0.1:")))
    assert len(ports) == 3
    assert held not in ports
    assert chosen["WEBCALL_PLAYGROUND"] == "true"
    assert not set(OPENAI_MODELS) & set(chosen)
    given = dict.fromkeys(plan.WORKER_PORTS, "9000")
    given |= {"WEBCALL_PLAYGROUND": "false", "WEBCALL_WORKER_DRAIN_S": "60", "WEBCALL_LIMIT_WAITING": "7"}
    given["WEBCALL_WATCH_BIND"] = "127.0.0.1:9000"
    assert worker_choices(given) == {}


@pytest.mark.parametrize(("number", "waiting"), [("1", "2"), ("0.2", "1"), ("2", "4"), ("8", "10")])
def test_one_address_cannot_fill_the_worker(
    number: str, waiting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls that wait take half of what a worker here takes, or the usual number if that is less."""
    monkeypatch.setenv("NUM_CPUS", number)
    assert worker_choices({})["WEBCALL_LIMIT_WAITING"] == waiting
    assert settings()["limits"]["waiting_per_address"] == f"${{WEBCALL_LIMIT_WAITING:-{plan.USUAL_WAITING}}}"


@pytest.mark.parametrize("own", OPENAI_MODELS)
def test_a_key_of_openai_makes_a_real_assistant(own: str) -> None:
    """With OPENAI_API_KEY the worker's defaults are OpenAI's, unless one of them is the operator's own."""
    key = {"OPENAI_API_KEY": "sk-CANARY"}
    assert OPENAI_MODELS.items() <= worker_choices(key).items()
    assert not set(OPENAI_MODELS) & set(worker_choices(key | {own: "demo"}))


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, "the assistant is an offline demo; with OPENAI_API_KEY set it is a real one"),
        (
            {"OPENAI_API_KEY": "sk-CANARY"},
            "the assistant speaks by OpenAI, since OPENAI_API_KEY is set; WEBCALL_LLM=demo keeps it offline",
        ),
        (
            {"OPENAI_API_KEY": "sk-CANARY", "WEBCALL_LLM": "google/gemini-2.5-flash"},
            "assistants that name no model use google/gemini-2.5-flash, demo",
        ),
    ],
)
def test_the_guide_says_what_the_assistant_speaks_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], told: str
) -> None:
    """The printed guide names the models and the playground, and never a provider's key."""
    monkeypatch.chdir(plan.ROOT)
    made = make_plan({**environment, "WEBCALL_INSTANCE": str(tmp_path), "WEBCALL_PORT": "8123"})
    shown = describe(made)
    assert told in shown
    assert "open http://127.0.0.1:8123/playground" in shown
    assert f"and paste this API key there:  {made.api_key}" in shown
    assert "CANARY" not in shown
    for name, model in OPENAI_MODELS.items():
        assert (made.environment.get(name) == model) is (told.startswith("the assistant speaks by OpenAI"))


def test_a_playground_that_is_off_is_not_promised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With WEBCALL_PLAYGROUND=false the guide names no page."""
    monkeypatch.chdir(plan.ROOT)
    made = make_plan({"WEBCALL_INSTANCE": str(tmp_path), "WEBCALL_PLAYGROUND": "false"})
    assert "/playground" not in describe(made)


def test_a_shell_forgets_the_run_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier run was given is gone from a shell that reads the file of this one."""
    monkeypatch.chdir(plan.ROOT)
    given = {"WEBCALL_INSTANCE": str(tmp_path)}
    file = write_environment(make_plan(given))
    names = ("WEBCALL_CONFIG", "MONGODB_URI", "LIVEKIT_API_KEY")
    shell = f"set -a; . {file}; set +a; " + "; ".join(f"echo ${{{name}-none}}" for name in names)
    before = {**os.environ, **dict.fromkeys(names, "earlier")}
    told = subprocess.run(["sh", "-c", shell], env=before, capture_output=True, text=True, check=True).stdout
    config, mongo, key = told.splitlines()
    assert (config, mongo) == ("none", "none")
    assert key not in ("none", "earlier")
    assert (
        plan.as_typed(given | {plan.ADDED: "LIVEKIT_API_KEY", "LIVEKIT_API_KEY": key}, file.parent) == given
    )
