"""What `make run` is going to run where, read from the environment and config.yaml."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scripts.children import Problem
from scripts.sample import livekit_key_pair, sample_key
from webcall.config.settings import CALLS_PER_CORE, Config
from webcall.core.cores import cores
from webcall.startup import Setup, prepare

ROOT = Path(__file__).resolve().parent.parent

# What a key of OpenAI makes the worker's defaults: none of an operator's own is touched.
OPENAI_MODELS = {
    "WEBCALL_LLM": "openai/gpt-4.1-mini",
    "WEBCALL_STT": "openai/gpt-4o-mini-transcribe",
    "WEBCALL_TTS": "openai/gpt-4o-mini-tts",
}

# The usual ports, which another's worker or watcher may have.
WORKER_PORTS = {"WEBCALL_WORKER_HEALTH_PORT": 8081, "WEBCALL_WORKER_METRICS_PORT": 8082}
WATCH_PORT = 8084

# The default of `limits.waiting_per_address`.
USUAL_WAITING = 10

# In the `env` that a run writes: the names in it that were its own doing and nobody's wish.
ADDED = "WEBCALL_ADDED_BY_MAKE_RUN"


@dataclass(frozen=True)
class Plan:
    """What is going to run where."""

    folder: Path
    given: dict[str, str] = field(repr=False)
    environment: dict[str, str] = field(repr=False)
    config: Config = field(repr=False)
    livekit_port: int | None  # None: LiveKit is another's, and nothing is started for it
    host: str
    port: int
    bind_was_given: bool
    api_key: str | None = field(repr=False)  # None: no sample key is known to the service
    assistants: Path | None  # None: the service does not read the file beside the sample
    speaks_by_openai: bool = False  # whether this run chose OpenAI's models for assistants that name none

    @property
    def service_url(self) -> str:
        """The service's address as seen from this machine."""
        host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def make_plan(given: dict[str, str]) -> Plan:
    """Read the environment, check every setting, and write the sample data that is missing.

    The sample is written only where the backend `file` is in use. Raises `Problem` and
    `webcall.errors.ConfigError`. Nothing is started.
    """
    folder = Path(given.get("WEBCALL_INSTANCE") or "instance").absolute()
    given = as_typed(given, folder)
    environment = dict(given)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / "logs").mkdir(exist_ok=True)
    keys = Path(environment.setdefault("WEBCALL_API_KEYS_FILE", str(folder / "api_keys.yaml")))
    assistants = Path(environment.setdefault("WEBCALL_ASSISTANTS_FILE", str(folder / "assistants.yaml")))
    environment.setdefault("WEBCALL_LOG_FORMAT", "console")
    chosen = worker_choices(given)
    environment |= chosen
    if given.get("WEBCALL_PORT") and not given.get("WEBCALL_BIND"):
        environment["WEBCALL_BIND"] = f"127.0.0.1:{_port('WEBCALL_PORT', given['WEBCALL_PORT'])}"
    own = f"ws://127.0.0.1:{_port('LIVEKIT_PORT', given.get('LIVEKIT_PORT') or '7880')}"
    uses_own = not given.get("LIVEKIT_URL")
    if uses_own:
        pair = livekit_key_pair(folder)
        environment |= {
            "LIVEKIT_URL": own,
            "LIVEKIT_API_KEY": pair.api_key,
            "LIVEKIT_API_SECRET": pair.api_secret,
        }
    setup = prepare(environ=environment)
    config = setup.config
    host, _, port = config.http.bind.rpartition(":")
    if not host or host == "unix" or not port.isdigit():
        raise Problem(f"http.bind: {config.http.bind}: `make run` needs an address such as 127.0.0.1:8000")
    reads_keys = "file" in config.auth.validators and _reads(setup, "api_keys", keys)
    reads_assistants = "file" in config.assistants.stores and _reads(setup, "assistants", assistants)
    api_key = sample_key(folder, keys, assistants) if reads_keys or reads_assistants else None
    # config.yaml may name a LiveKit of its own without asking the environment.
    starts_livekit = uses_own and config.livekit.url == own
    return Plan(
        folder=folder,
        given=given,
        environment=environment,
        config=config,
        livekit_port=int(own.rpartition(":")[2]) if starts_livekit else None,
        host=host.strip("[]"),
        port=int(port),
        bind_was_given=bool(given.get("WEBCALL_BIND")),
        api_key=api_key if reads_keys and reads_assistants else None,
        assistants=assistants if reads_assistants else None,
        speaks_by_openai="WEBCALL_LLM" in chosen and config.worker.llm == chosen["WEBCALL_LLM"],
    )


def worker_choices(given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of worker, watcher, playground and limits that a run here sets by itself.

    None of them wins over one that is given, but an empty one, which is no value in a shell either.
    """
    wanted = {"WEBCALL_PLAYGROUND": "true", "WEBCALL_WORKER_DRAIN_S": "1"}
    # The usual limit is for workers with more cores than many a machine on which somebody tries this has.
    half = max(1, int(cores() * CALLS_PER_CORE) // 2)
    wanted["WEBCALL_LIMIT_WAITING"] = str(min(USUAL_WAITING, half))
    taken: set[int] = set()
    for name, usual in WORKER_PORTS.items():
        port = _free_port(usual, taken)
        taken.add(port)
        wanted[name] = str(port)
    wanted["WEBCALL_WATCH_BIND"] = f"127.0.0.1:{_free_port(WATCH_PORT, taken)}"
    if given.get("OPENAI_API_KEY") and not any(given.get(name) for name in OPENAI_MODELS):
        wanted |= OPENAI_MODELS
    return {name: value for name, value in wanted.items() if not given.get(name)}


def _free_port(usual: int, taken: Container[int]) -> int:
    for port in (usual, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            if found not in taken:
                return found
    raise Problem("no free port for the health of worker and watcher: is this machine out of ports?")


def as_typed(given: dict[str, str], folder: Path) -> dict[str, str]:
    """Return the environment without what an earlier run added and the shell has read from its `env`."""
    added = given.get(ADDED, "").split(",")
    try:
        lines = (folder / "env").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    read = dict(word.split("=", 1) for line in lines for word in shlex.split(line) if "=" in word)
    return {
        name: value
        for name, value in given.items()
        if name != ADDED and not (name in added and read.get(name) == value)
    }


def _reads(setup: Setup, setting: str, path: Path) -> bool:
    # config.yaml may name a file of its own without asking the environment.
    return Path(setup.settings["file"][setting]).absolute() == path.absolute()


def _port(name: str, text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise Problem(f"{name}: {text!r} is not a port from 1 to 65535")
    return int(text)
