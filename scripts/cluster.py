"""`make cluster`: a deployment on several machines, all of it on this one's loopback address.

Two LiveKit nodes on one Redis, two nodes of the service, nginx in front of both pairs, a MongoDB-compatible
server with the sample's key and assistant, limits in Redis, a watcher and a worker. Ports are free ones.
Prints a `curl` line, and ends everything on Ctrl-C. Its data and logs are in a temporary folder, which goes
with it; WEBCALL_INSTANCE names a folder that stays.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import pymongo

from scripts import children, livekit_server, programs
from scripts.children import Child, Problem
from scripts.guide import curl_line
from scripts.plan import ROOT
from scripts.sample import ASSISTANT, key_record, livekit_key_pair
from scripts.servers import (
    MissingServer,
    free_port,
    mongo_answers,
    mongo_command,
    nginx_command,
    redis_answers,
    redis_command,
)
from scripts.waiting import wait_for, wait_for_worker
from webcall.config.settings import Config
from webcall.records import new_api_key
from webcall.startup import prepare

_WITHIN_S = 60
_OWN = ("LIVEKIT_", "MONGODB_", "WEBCALL_")
DATABASE = "webcall"

LIVEKITS = ("livekit-1", "livekit-2")
SERVICES = ("service-1", "service-2")
NAMES = ("redis", "mongo", *LIVEKITS, *SERVICES, "nginx", "watch", "worker")
"""What a cluster consists of, in the order in which it is started."""


class Cluster:
    """The programs of a deployment, each of which can be killed, stopped and started by its name.

    `url` is the service behind nginx, `livekit_url` LiveKit behind nginx, `api_key` a key that calls the
    sample assistant. `changed` are variables for the services and the worker.
    """

    def __init__(self, folder: Path, changed: Mapping[str, str] | None = None) -> None:
        """Choose ports and write settings and keys to `folder`. Raises `Problem`."""
        self.folder = folder
        self.ports = {name: free_port() for name in NAMES}
        self.ports |= {name: free_port() for name in ("livekit", "worker-metrics")}
        self.api_key = new_api_key()
        self.pair = livekit_key_pair(folder)
        self.url = self.address("nginx")
        self.livekit_url = self.address("livekit").replace("http", "ws")
        self.mongo_uri = f"mongodb://127.0.0.1:{self.ports['mongo']}"
        self.environment = self._environment() | dict(changed or {})
        self.config: Config = prepare(environ=self.environment).config
        self._children: dict[str, Child] = {}
        try:
            self._commands = self._make_commands()
        except (MissingServer, livekit_server.NoLiveKitServer) as error:
            raise Problem(str(error)) from None

    def address(self, name: str) -> str:
        """Return where a program listens, past nginx, as http."""
        return f"http://127.0.0.1:{self.ports[name]}"

    def running(self) -> dict[str, int]:
        """Return the ids of the processes that run, by their names."""
        pids = {name: child.process for name, child in self._children.items()}
        return {name: process.pid for name, process in pids.items() if process.poll() is None}

    def log(self, name: str) -> Path:
        """Return the file that a program's output goes to."""
        return self.folder / f"{name}.log"

    def start_all(self, names: Iterable[str] = NAMES) -> None:
        """Start everything and return when calls can be placed. Raises `Problem`."""
        # In steps: within one they do not need each other, and starting takes seconds.
        steps = (("redis", "mongo"), LIVEKITS, SERVICES, ("nginx",), ("watch", "worker"))
        wanted = set(names)
        for step in steps:
            chosen = [name for name in step if name in wanted]
            for name in chosen:
                self.begin(name)
            for name in chosen:
                self.wait(name)
            if "mongo" in chosen:
                self._write_records()

    def start(self, name: str) -> None:
        """Start one program and return when it answers. Raises `Problem`."""
        self.begin(name)
        self.wait(name)

    def begin(self, name: str) -> None:
        """Start one program and return at once."""
        environment = self.environment
        if name in SERVICES:
            environment = environment | {"WEBCALL_BIND": f"127.0.0.1:{self.ports[name]}"}
        self._children[name] = children.start(name, self._commands[name], environment, self.log(name))

    def wait(self, name: str) -> None:
        """Return when the program answers. Raises `Problem` if it ends or the time is up."""
        child = self._children[name]
        what = f"{name}; log: {child.log}"
        if name in ("redis", "mongo"):
            self._wait_until(redis_answers if name == "redis" else mongo_answers, name)
        elif name == "worker":
            wait_for_worker(self.config, child, [child], _WITHIN_S)
        elif name == "nginx":
            for address in (self.url + "/health", self.address("livekit")):
                wait_for(address, what, [child], _WITHIN_S)
        else:
            # A service is asked whether it lives, not whether all behind it does: nginx is not there yet.
            path = "/" if name in LIVEKITS else "/health"
            wait_for(self.address(name) + path, what, [child], _WITHIN_S)

    def kill(self, name: str) -> None:
        """End the program and what it has started at once, as a machine that loses its power."""
        process = self._children[name].process
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def terminate(self, name: str, within_s: float = 60) -> None:
        """Ask the program to end, once, and wait for it."""
        process = self._children[name].process
        process.terminate()
        process.wait(within_s)

    def stop(self) -> None:
        """End everything."""
        children.stop(list(self._children.values()))

    def _environment(self) -> dict[str, str]:
        given = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
        redis = f"redis://127.0.0.1:{self.ports['redis']}/1"  # LiveKit's own is database 0
        return given | {
            "WEBCALL_CONFIG": str(ROOT / "config.yaml"),
            "LIVEKIT_URL": self.livekit_url,
            "LIVEKIT_API_KEY": self.pair.api_key,
            "LIVEKIT_API_SECRET": self.pair.api_secret,
            "LIVEKIT_TIMEOUT_S": "8",
            "MONGODB_URI": self.mongo_uri,
            "MONGODB_DATABASE": DATABASE,
            "WEBCALL_VALIDATORS": "mongo",
            "WEBCALL_STORES": "mongo",
            "WEBCALL_LIMITS_STORAGE": redis,
            "WEBCALL_TRUSTED_PROXIES": "1",
            "WEBCALL_PUBLIC_URL": self.url,
            "WEBCALL_WATCH_BIND": f"127.0.0.1:{self.ports['watch']}",
            "WEBCALL_WORKER_HEALTH_PORT": str(self.ports["worker"]),
            "WEBCALL_WORKER_METRICS_PORT": str(self.ports["worker-metrics"]),
            "WEBCALL_WORKER_DRAIN_S": "1",
        }

    def _make_commands(self) -> dict[str, list[str]]:
        made: dict[str, list[str]] = {}
        for name in NAMES:
            (self.folder / name).mkdir(exist_ok=True)
        made["redis"] = redis_command(self.ports["redis"])
        made["mongo"] = mongo_command(self.ports["mongo"], self.folder / "mongo")
        program = livekit_server.ensure()
        for name in LIVEKITS:
            settings = livekit_server.write_config(
                self.folder / name,
                self.ports[name],
                self.pair.api_key,
                self.pair.api_secret,
                free_port(socket.SOCK_DGRAM),
                webhook_urls=[f"{url}/livekit/webhook" for url in (self.url, self.address("watch"))],
                redis_address=f"127.0.0.1:{self.ports['redis']}",
            )
            made[name] = [str(program), "--config", str(settings)]
        for name in SERVICES:
            made[name] = [sys.executable, "-m", "gunicorn", "--config", str(ROOT / "gunicorn.conf.py")]
        made["nginx"] = nginx_command(self.folder / "nginx", self._nginx_names())
        made["watch"] = [sys.executable, "-m", "flask", "--app", "wsgi", "webcall", "watch"]
        made["worker"] = [sys.executable, "-m", "webcall.worker", "start"]
        return made

    def _nginx_names(self) -> dict[str, str]:
        listening = {"WEBCALL_LISTEN": "nginx", "LIVEKIT_LISTEN": "livekit"}
        behind = {"WEBCALL_1": SERVICES[0], "WEBCALL_2": SERVICES[1]}
        behind |= {"LIVEKIT_1": LIVEKITS[0], "LIVEKIT_2": LIVEKITS[1]}
        addresses = {one: f"127.0.0.1:{self.ports[name]}" for one, name in (listening | behind).items()}
        # Nobody is asked, since all servers are named by their addresses.
        return addresses | {"RESOLVER": "127.0.0.1"}

    def _write_records(self) -> None:
        with pymongo.MongoClient[dict[str, object]](self.mongo_uri, timeoutMS=10_000) as client:
            database = client[DATABASE]
            database.api_keys.insert_one(key_record(self.api_key) | {"rate_limit": "off"})
            database.assistants.insert_one(dict(ASSISTANT))
        command = [sys.executable, "-m", "flask", "--app", "wsgi", "webcall", "mongo", "init"]
        told = children.output_of(command, self.environment, _WITHIN_S)
        if "index on" not in told:
            raise Problem(told)

    def _wait_until(self, answers: Callable[[int], bool], name: str) -> None:
        deadline = time.monotonic() + _WITHIN_S
        while not answers(self.ports[name]):
            self._children[name].check()
            if time.monotonic() > deadline:
                raise Problem(f"{name} does not answer after {_WITHIN_S} s")
            time.sleep(0.05)


def describe(cluster: Cluster) -> str:
    """Return what runs where, and a line that calls it."""
    lines = [f"{name:<10} {cluster.address(name)}  pid {pid}" for name, pid in cluster.running().items()]
    lines.append(f"{'LiveKit':<10} {cluster.livekit_url}  (nginx, in front of both nodes)")
    lines += ["", f"Logs: {cluster.folder}", "", curl_line(cluster.url, cluster.api_key), ""]
    return "\n".join([*lines, "Kill what you like, by its pid. Ctrl-C stops everything.", ""])


def _interrupt(_signum: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> int:
    """Run until Ctrl-C (status 0). Status 1: something cannot run."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _interrupt)
    os.chdir(ROOT)
    programs.ensure()
    with ExitStack() as stack:
        kept = os.environ.get("WEBCALL_INSTANCE")
        folder = Path(kept or stack.enter_context(tempfile.TemporaryDirectory(prefix="webcall-cluster-")))
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            cluster = Cluster(folder.absolute())
            stack.callback(cluster.stop)
            cluster.start_all()
            print(describe(cluster), flush=True)
            signal.pause()
        except KeyboardInterrupt:
            return 0
        except Problem as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
