"""`make run`: LiveKit, service, worker and watcher on this machine, with a sample assistant to talk to.

Environment: `WEBCALL_PORT` or `WEBCALL_BIND` (default 127.0.0.1:8000), `LIVEKIT_PORT` (7880),
`WEBCALL_INSTANCE` (the folder of data and logs, default `instance`), and whatever config.yaml reads.
With `LIVEKIT_URL` set, that LiveKit is used and none is started. With `OPENAI_API_KEY` set, assistants
that name no model speak by OpenAI, unless `WEBCALL_LLM`, `WEBCALL_STT` or `WEBCALL_TTS` is set.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import IO, BinaryIO, NoReturn

from scripts import frontend, livekit_server
from scripts.children import Child, Problem, output_of, start, stop
from scripts.guide import describe, write_environment
from scripts.plan import ROOT, Plan, make_plan
from scripts.waiting import NotReady, wait_for, wait_for_worker
from webcall.errors import ConfigError

_READY_WITHIN_S = 30
_WORKER_WITHIN_S = 90
_WORKER_ENDS_WITHIN_S = 15
_CHECK_WITHIN_S = 60
_WORKER = "the worker"


def lock_folder(plan: Plan) -> IO[bytes]:
    """Return a file whose lock lasts until it is closed. Raises `Problem` if another run has it."""
    lock = (plan.folder / "lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise Problem(
            f"{plan.folder}: `make run` is running here already: stop it first, or set WEBCALL_INSTANCE "
            "to another folder"
        ) from None
    return lock


def check_ports(plan: Plan) -> None:
    """Raise `Problem`, with the settings that change them, if somebody else listens on ports."""
    asked = []
    if plan.livekit_port is not None:
        asked.append(("127.0.0.1", plan.livekit_port, "LIVEKIT_PORT", str(plan.livekit_port + 10)))
    # WEBCALL_BIND wins over WEBCALL_PORT, where both are set.
    setting, example = "WEBCALL_PORT", str(plan.port + 10)
    if plan.bind_was_given:
        setting, example = "WEBCALL_BIND", f"{plan.host}:{plan.port + 10}"
    asked.append((plan.host, plan.port, setting, example))
    asked.append((*plan.config.watch.address, "WEBCALL_WATCH_BIND", "127.0.0.1:8094"))
    worker = plan.config.worker
    for name, port in (("HEALTH", worker.health_port), ("METRICS", worker.metrics_port)):
        if port:
            asked.append((worker.host, port, f"WEBCALL_WORKER_{name}_PORT", str(port + 10)))
    found = [(told, f"{setting}={example}") for *at, setting, example in asked if (told := _why_not(*at))]
    if found:
        lines, changes = zip(*found, strict=True)
        others = "another one" if len(found) == 1 else "others"
        raise Problem("; ".join(lines) + f"; choose {others}: {' '.join(changes)} make run")


def _why_not(host: str, port: int) -> str:
    """Return why nobody can listen there; empty: somebody can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return f"{host}:{port}: {(error.strerror or 'cannot be used').lower()}"
    return ""


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
    webhooks = [f"{url}/livekit/webhook" for url in (plan.service_url, plan.config.watch.url)]
    settings = livekit_server.write_config(plan.folder, port, key, secret, udp_port, webhook_urls=webhooks)
    log = plan.folder / "logs" / "livekit.log"
    return start("LiveKit", [str(program), "--config", str(settings)], os.environ, log)


def start_service(plan: Plan) -> Child:
    """Start gunicorn with the repository's own settings."""
    command = [sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py"]
    return start("the service", command, plan.environment, plan.folder / "logs" / "webcall.log")


def fetch_frontend() -> None:
    """Fetch what the playground needs, if it is not there. Raises `Problem`, with the way without."""
    try:
        frontend.ensure_library()
    except frontend.NoFrontend as error:
        raise Problem(f"{error}\nWEBCALL_PLAYGROUND=false make run does without the playground") from None


def start_worker(plan: Plan) -> Child:
    """Start the worker that runs assistants."""
    command = [sys.executable, "-m", "webcall.worker", "start"]
    return start(_WORKER, command, plan.environment, plan.folder / "logs" / "worker.log")


def start_watcher(plan: Plan) -> Child:
    """Start what sees to it that everybody in a room has an assistant."""
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "webcall", "watch"]
    return start("the watcher", command, plan.environment, plan.folder / "logs" / "watch.log")


def _wait_for_service(plan: Plan, children: list[Child]) -> None:
    backends = dict.fromkeys((*plan.config.auth.validators, *plan.config.assistants.stores))
    what = f"LiveKit at {plan.config.livekit.url}, the backends ({', '.join(backends)}) and the service"
    try:
        wait_for(plan.service_url + "/ready", what, children, _READY_WITHIN_S)
    except NotReady as error:
        print(f"{error}\n`flask webcall check` says:", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "flask", "--app", "wsgi", "webcall", "check"]
        raise Problem(output_of(command, plan.environment, _CHECK_WITHIN_S)) from None


def supervise(plan: Plan, children: list[Child]) -> NoReturn:
    """Start everything, say so, and show the service's lines until something ends. Fills `children`."""
    if plan.livekit_port is not None:
        children.append(start_livekit(plan, plan.livekit_port))
        url = f"http://127.0.0.1:{plan.livekit_port}/"
        wait_for(url, f"LiveKit; log: {children[0].log}", children, _READY_WITHIN_S)
    service = start_service(plan)
    children.append(service)
    # Its start takes longer than the service's, and its faults are told after those of the settings.
    worker = start_worker(plan)
    beside = list(children)
    children.append(worker)
    _wait_for_service(plan, beside)
    children.append(start_watcher(plan))
    wait_for_worker(plan.config, worker, children, _WORKER_WITHIN_S)
    wait_for(f"{plan.config.watch.url}/health", "the watcher", children, _READY_WITHIN_S)
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


def stop_worker(children: Sequence[Child]) -> None:
    """Ask the worker to end its calls, and wait for that; what is left of it `stop` ends."""
    for child in children:
        if child.name == _WORKER:
            # It alone and once: its calls' processes would die in mid-sentence, and a second signal
            # ends the worker at once.
            child.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(_WORKER_ENDS_WITHIN_S)


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
    lock: IO[bytes] | None = None
    status = 1
    try:
        os.chdir(ROOT)
        plan = make_plan(dict(os.environ))
        lock = lock_folder(plan)
        check_ports(plan)
        write_environment(plan)
        if plan.config.http.playground:
            fetch_frontend()
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
        stop_worker(children)
        stop(children)
        if lock is not None:
            lock.close()
    if status == 0:
        print("stopped")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
