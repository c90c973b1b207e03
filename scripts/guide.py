"""What `make run` tells: what runs where, lines to paste, and the environment that they need."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

from scripts.plan import ADDED, ROOT, Plan
from scripts.sample import ASSISTANT_ID, METADATA, OWNER, write_private
from webcall.config.source import find

_OURS = ("LIVEKIT_", "MONGODB_", "WEBCALL_")
_FOR_MAKE_RUN = ("LIVEKIT_PORT", "WEBCALL_PORT", "WEBCALL_INSTANCE")


def write_environment(plan: Plan) -> Path:
    """Write the service's variables as lines for a shell to `env` in the instance folder; return it.

    They are those of this service by their prefix and those that config.yaml names; what an earlier run set
    of these, and this one does not, is unset. The file holds LiveKit's secret and is readable by its owner
    only.
    """
    named = re.findall(r"\$\{([A-Za-z_]\w*)", find(plan.environment).read_text("utf-8-sig"))
    ours = {
        name: value
        for name, value in sorted(plan.environment.items())
        if (name.startswith(_OURS) or name in named) and re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII)
        if name not in _FOR_MAKE_RUN
    }
    added = [name for name, value in ours.items() if plan.given.get(name) != value]
    path = plan.folder / "env"
    gone = sorted({"WEBCALL_CONFIG", *named} - ours.keys())
    lines = [f"unset {' '.join(gone)}\n"] if gone else []
    lines += [f"{name}={shlex.quote(value)}\n" for name, value in {**ours, ADDED: ",".join(added)}.items()]
    write_private(path, "".join(lines))
    return path


def describe(plan: Plan) -> str:
    """Return what runs where, lines to paste, and how to stop."""
    config = plan.config
    logs = short(plan.folder / "logs")
    data = f"Data     {short(plan.folder)}"
    if plan.assistants:
        data += f"  (an edit of {short(plan.assistants)} counts at once)"
    lines = [
        "",
        f"LiveKit  {config.livekit.url}  log: {logs}/livekit.log"
        if plan.livekit_port
        else f"LiveKit  {config.livekit.url}  (yours: none was started here)",
        f"Service  {plan.service_url}  log: {logs}/webcall.log",
        f"Worker   {config.livekit.agent_name}: {_models(plan)}  log: {logs}/worker.log",
        f"Watcher  {plan.config.watch.url}  log: {logs}/watch.log",
        *([f"API      {plan.service_url}/docs"] if config.http.docs else []),
        data,
        "",
        *(_talk(plan) if config.http.playground else []),
        *(_sample_call(plan) if plan.api_key else _own_call(plan)),
        "",
        f"The token that it answers with is good for {config.call.join_window_s:g} s.",
        "In a second terminal, a check of everything, and a call whose token is good for longer:",
        "",
        command_line(plan),
        f"{_flask()} webcall call {_assistant(plan)} --owner {_owner(plan)} --join-window 10m",
        "",
        "Ctrl-C stops everything and keeps the data. Requests:",
        "",
    ]
    return "\n".join(lines)


def _models(plan: Plan) -> str:
    """Return what assistants that name no model speak by."""
    settings = plan.config.worker
    if plan.speaks_by_openai:
        return (
            "the assistant speaks by OpenAI, since OPENAI_API_KEY is set; WEBCALL_LLM=demo keeps it offline"
        )
    models = dict.fromkeys((settings.llm, settings.stt, settings.tts))
    if list(models) == ["demo"]:
        return "the assistant is an offline demo; with OPENAI_API_KEY set it is a real one"
    return f"assistants that name no model use {', '.join(models)}"


def _talk(plan: Plan) -> list[str]:
    """Return how to talk with the assistant in a browser. No key goes into an address."""
    address = f"{plan.config.http.page_url}/playground"
    if plan.api_key is None:
        return [f"Talk with an assistant: open {address} and paste an API key of yours there.", ""]
    return [
        f"Talk and type with the sample assistant: open {address}",
        f"and paste this API key there:  {plan.api_key}",
        "",
    ]


def _sample_call(plan: Plan) -> list[str]:
    return ["A call from the shell, with the sample's own key:", "", curl(plan, str(plan.api_key))]


def _own_call(plan: Plan) -> list[str]:
    validators, stores = plan.config.auth.validators, plan.config.assistants.stores
    return [
        f"In use are your own API keys ({', '.join(validators)}) and assistants ({', '.join(stores)}).",
        "The variables WEBCALL_API_KEY or WEBCALL_API_KEYS hold the keys."
        if validators == ("env",)
        else f"A key, after the first of the lines below: {_flask()} webcall keys create --owner EMAIL",
        "A call:",
        "",
        curl(plan, "YOUR_API_KEY"),
    ]


def _assistant(plan: Plan) -> str:
    return ASSISTANT_ID if plan.api_key else "YOUR_ASSISTANT"


def _owner(plan: Plan) -> str:
    return OWNER if plan.api_key else "EMAIL"


def curl(plan: Plan, api_key: str) -> str:
    """Return the command that asks this run's service for a token, as one line to paste into a shell."""
    return curl_line(plan.service_url, api_key, _assistant(plan))


def curl_line(service_url: str, api_key: str, assistant: str = ASSISTANT_ID) -> str:
    """Return the command that asks a service for a token, as one line to paste into a shell."""
    body = json.dumps({"assistant_id": assistant, "metadata": METADATA})
    words = ["curl", "-sS", f"{service_url}/web_call/get_token"]
    words += ["-H", f"Authorization: Bearer {api_key}", "-H", "Content-Type: application/json", "-d", body]
    return shlex.join(words)


def command_line(plan: Plan) -> str:
    """Return a line for a second terminal: the service's environment, and a command that needs it."""
    environment = shlex.quote(short(plan.folder / "env"))
    return f"cd {shlex.quote(str(ROOT))} && set -a && . {environment} && set +a && {_flask()} webcall check"


def _flask() -> str:
    return shlex.quote(short(Path(sys.executable).with_name("flask")))


def short(path: Path) -> str:
    """Return a path as it is called in the project's folder."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
