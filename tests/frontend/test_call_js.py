"""The code that pages are made of: its types, its tests under node, and how it gets here."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import frontend
from tests.support import programs

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture(scope="session")
def node() -> Path:
    """A node that runs the tests, with LiveKit's library there."""
    try:
        frontend.ensure_library()
        return frontend.node()
    except frontend.NoFrontend as error:
        programs.without("node", str(error))


def test_the_tests_of_the_call_pass(node: Path) -> None:
    """Every case of `call.js` and its modules holds, on a stand-in for LiveKit's library."""
    files = sorted(HERE.glob("*.test.mjs"))
    run = subprocess.run([node, "--test", *files], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout[-8000:]
    assert len(files) == 4


def test_the_types_are_right(node: Path) -> None:
    """TypeScript's compiler, strict, finds nothing in the pages' code."""
    command = [sys.executable, "-m", "scripts.frontend", "types"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150)
    assert run.returncode == 0, run.stdout + run.stderr


def write_npm(folder: Path, script: str) -> None:
    folder.mkdir(exist_ok=True)
    program = folder / "npm"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def sources(tmp_path: Path) -> Path:
    """Return a folder that names what is wanted."""
    static = tmp_path / "static"
    static.mkdir()
    (static / "package.json").write_text('{"dependencies": {"livekit-client": "1.2.3"}}')
    return static


INSTALL = """echo run >> "$LOG"
mkdir -p node_modules/livekit-client/dist
echo library > node_modules/livekit-client/dist/livekit-client.umd.js
echo licence > node_modules/livekit-client/LICENSE
echo '{"version": "1.2.3"}' > node_modules/livekit-client/package.json"""


def test_two_runs_at_once_fetch_once(tmp_path: Path) -> None:
    """Of runs that need the library together one fetches it, and later ones ask nobody."""
    static = sources(tmp_path)
    write_npm(tmp_path / "bin", "sleep 0.2\n" + INSTALL)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "LOG": str(tmp_path / "runs"),
    }
    code = f"""from pathlib import Path; from scripts.frontend import ensure_library
print(ensure_library(Path({str(static)!r}), Path({str(tmp_path / "tools")!r})))"""

    def run() -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment, text=True, stdout=-1)

    with run() as first, run() as second:
        told = {process.communicate(timeout=60)[0].strip() for process in (first, second)}
    with run() as third:
        told.add(third.communicate(timeout=60)[0].strip())
    assert told == {str(static / "vendor" / frontend.LIBRARY)}
    assert (tmp_path / "runs").read_text() == "run\n"
    assert (static / "vendor" / frontend.LIBRARY).read_text() == "library\n"
    assert (static / "vendor" / frontend.LICENCE).read_text() == "licence\n"


def test_another_version_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that is older than the one wanted is replaced."""
    static = sources(tmp_path)
    vendor = static / "vendor"
    vendor.mkdir()
    (vendor / frontend.LIBRARY).write_text("old")
    (vendor / "livekit-client.package.json").write_text(json.dumps({"version": "1.2.2"}))
    write_npm(tmp_path / "bin", INSTALL)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("LOG", str(tmp_path / "runs"))
    assert frontend.ensure_library(static, tmp_path / "tools").read_text() == "library\n"


def test_failure_says_what_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither npm nor PyPI brings it, the error names both and the command to run again."""
    static = sources(tmp_path)
    write_npm(tmp_path / "bin", "echo no network; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(frontend.NoFrontend) as raised:
        frontend.ensure_library(static, tmp_path / "tools")
    told = str(raised.value)
    assert "npm install failed" in told
    assert "no network" in told
    assert f"{frontend.NODE_PACKAGE} from PyPI could not be installed" in told
    assert "python -m scripts.frontend" in told
