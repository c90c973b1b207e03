"""`make run`: a LiveKit server and the service on this machine, with a sample to call at once.

Environment: `WEBCALL_PORT` or `WEBCALL_BIND` (default 127.0.0.1:8000), `LIVEKIT_PORT` (7880),
`WEBCALL_INSTANCE` (the folder of data and logs, default `instance`), and whatever config.yaml reads.
With `LIVEKIT_URL` set, that LiveKit is used and none is started.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from scripts import livekit_server
from scripts.children import Child, Problem, start, stop
from scripts.sample import ASSISTANT_ID, METADATA, livekit_key_pair, sample_key
from webcall.errors import ConfigError
from webcall.startup import prepare

ROOT = Path(__file__).resolve().parent.parent
_READY_WITHIN_S = 30
# Nothing here leaves the machine, so no proxy of the environment may get between.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Plan:
    """What is going to run where."""

    folder: Path
    environment: dict[str, str]
    livekit_port: int | None  # None: LiveKit is another's, and nothing is started for it
    livekit_url: str
    host: str
    port: int
    bind_was_given: bool
    api_key: str | None
    assistants: Path
    docs: bool

    @property
    def service_url(self) -> str:
        """The service's address as seen from this machine."""
        host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def make_plan(given: dict[str, str]) -> Plan:
    """Read the environment, write the sample data that is missing, and check every setting.

    Raises `Problem` and `webcall.errors.ConfigError`. Nothing is started.
    """
    environment = dict(given)
    folder = Path(given.get("WEBCALL_INSTANCE") or "instance").absolute()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / "logs").mkdir(exist_ok=True)
    keys = Path(environment.setdefault("WEBCALL_API_KEYS_FILE", str(folder / "api_keys.yaml")))
    assistants = Path(environment.setdefault("WEBCALL_ASSISTANTS_FILE", str(folder / "assistants.yaml")))
    environment.setdefault("WEBCALL_LOG_FORMAT", "console")
    if given.get("WEBCALL_PORT") and not given.get("WEBCALL_BIND"):
        environment["WEBCALL_BIND"] = f"127.0.0.1:{_port('WEBCALL_PORT', given['WEBCALL_PORT'])}"
    own = f"ws://127.0.0.1:{_port('LIVEKIT_PORT', given.get('LIVEKIT_PORT') or '7880')}"
    if not given.get("LIVEKIT_URL"):
        pair = livekit_key_pair(folder)
        environment |= {
            "LIVEKIT_URL": own,
            "LIVEKIT_API_KEY": pair.api_key,
            "LIVEKIT_API_SECRET": pair.api_secret,
        }
    api_key = sample_key(folder, keys, assistants)
    config = prepare(environ=environment).config
    host, _, port = config.http.bind.rpartition(":")
    if not host or host == "unix" or not port.isdigit():
        raise Problem(f"http.bind: {config.http.bind}: `make run` needs an address such as 127.0.0.1:8000")
    # config.yaml may name a LiveKit of its own without asking the environment.
    starts_livekit = not given.get("LIVEKIT_URL") and config.livekit.url == own
    return Plan(
        folder=folder,
        environment=environment,
        livekit_port=int(own.rpartition(":")[2]) if starts_livekit else None,
        livekit_url=config.livekit.url,
        host=host.strip("[]"),
        port=int(port),
        bind_was_given=bool(given.get("WEBCALL_BIND")),
        api_key=api_key,
        assistants=assistants,
        docs=config.http.docs,
    )


def _port(name: str, text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise Problem(f"{name}: {text!r} is not a port from 1 to 65535")
    return int(text)


def check_ports(plan: Plan) -> None:
    """Raise `Problem`, with the setting that changes it, if somebody else listens on a port."""
    if plan.livekit_port is not None:
        _check_port("127.0.0.1", plan.livekit_port, "LIVEKIT_PORT", str(plan.livekit_port + 10))
    # WEBCALL_BIND wins over WEBCALL_PORT, where both are set.
    setting, example = "WEBCALL_PORT", str(plan.port + 10)
    if plan.bind_was_given:
        setting, example = "WEBCALL_BIND", f"{plan.host}:{plan.port + 10}"
    _check_port(plan.host, plan.port, setting, example)


def _check_port(host: str, port: int, setting: str, example: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Problem(
                f"{host}:{port}: {(error.strerror or 'cannot be used').lower()}; "
                f"{setting} chooses another one: {setting}={example} make run"
            ) from None


def start_livekit(plan: Plan, port: int) -> Child:
    """Start the LiveKit server, fetched if need be."""
    try:
        program = livekit_server.ensure()
    except livekit_server.NoLiveKitServer as error:
        raise Problem(str(error)) from None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        udp_port: int = probe.getsockname()[1]
    environment = plan.environment
    key, secret = environment["LIVEKIT_API_KEY"], environment["LIVEKIT_API_SECRET"]
    settings = livekit_server.write_config(plan.folder, port, key, secret, udp_port)
    log = plan.folder / "logs" / "livekit.log"
    return start("LiveKit", [str(program), "--config", str(settings)], os.environ, log)


def start_service(plan: Plan) -> Child:
    """Start gunicorn with the repository's own settings."""
    command = [sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py"]
    return start("the service", command, plan.environment, plan.folder / "logs" / "webcall.log")


def wait_for(url: str, children: list[Child]) -> None:
    """Wait until `url` answers 200. Raises `Problem` if a child ends or the time is up."""
    deadline = time.monotonic() + _READY_WITHIN_S
    told = "no answer"
    while time.monotonic() < deadline:
        for child in children:
            child.check()
        try:
            with _OPENER.open(url, timeout=10):
                return
        except urllib.error.HTTPError as error:
            told = f"{error.code} {error.read(2000).decode('utf-8', 'replace')}"
        except OSError:
            pass
        time.sleep(0.1)
    raise Problem(f"{url} is not ready after {_READY_WITHIN_S} s: {told}\n{children[-1].last_lines()}")


def describe(plan: Plan) -> str:
    """Return what runs where, a line to paste, and how to stop."""
    logs = _short(plan.folder / "logs")
    lines = [
        "",
        f"LiveKit  {plan.livekit_url}  log: {logs}/livekit.log"
        if plan.livekit_port
        else f"LiveKit  {plan.livekit_url}  (yours: none was started here)",
        f"Service  {plan.service_url}  log: {logs}/webcall.log",
        *([f"API      {plan.service_url}/docs"] if plan.docs else []),
        f"Data     {_short(plan.folder)}  (an edit of {_short(plan.assistants)} counts at once)",
        "",
    ]
    if plan.api_key:
        lines += ["A call of the sample assistant, with the sample's own key:", "", curl(plan, plan.api_key)]
    else:
        lines += [
            "The API keys and assistants are your own: see `flask webcall keys list`. A call:",
            "",
            curl(plan, "YOUR_API_KEY").replace(ASSISTANT_ID, "YOUR_ASSISTANT"),
        ]
    return "\n".join([*lines, "", "Ctrl-C stops everything and keeps the data. Requests:", ""])


def curl(plan: Plan, api_key: str) -> str:
    """Return the command that asks for a token, as one line to paste into a shell."""
    body = json.dumps({"assistant_id": ASSISTANT_ID, "metadata": METADATA})
    words = ["curl", "-sS", f"{plan.service_url}/web_call/get_token"]
    words += ["-H", f"Authorization: Bearer {api_key}", "-H", "Content-Type: application/json", "-d", body]
    return shlex.join(words)


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def supervise(plan: Plan, children: list[Child]) -> NoReturn:
    """Start everything, say so, and show the service's lines until something ends. Fills `children`."""
    if plan.livekit_port is not None:
        children.append(start_livekit(plan, plan.livekit_port))
        wait_for(f"http://127.0.0.1:{plan.livekit_port}/", children)
    service = start_service(plan)
    children.append(service)
    wait_for(plan.service_url + "/ready", children)
    print(describe(plan), flush=True)
    with service.log.open("rb") as log:
        log.seek(0, os.SEEK_END)
        try:
            while True:
                time.sleep(0.2)
                _show(log)
                for child in children:
                    child.check()
        finally:
            _show(log)


def _show(log: BinaryIO) -> None:
    if new := log.read():
        sys.stdout.buffer.write(new)
        sys.stdout.flush()


def _interrupt(signum: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> int:
    """Run until Ctrl-C (status 0). Status 1: something cannot run; 2: faults in the settings."""
    stopping = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for signum in stopping:
        signal.signal(signum, _interrupt)
    children: list[Child] = []
    status = 1
    try:
        os.chdir(ROOT)
        plan = make_plan(dict(os.environ))
        check_ports(plan)
        supervise(plan, children)
    except KeyboardInterrupt:
        status = 0
    except ConfigError as error:
        status = 2
        print(*error.faults, sep="\n", file=sys.stderr)
    except Problem as error:
        print(error, file=sys.stderr)
    finally:
        for signum in stopping:
            signal.signal(signum, signal.SIG_IGN)
        stop(children)
    if status == 0:
        print("stopped")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
