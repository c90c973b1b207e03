"""How Chromium, Redis, PostgreSQL, nginx, strace and promtool come to a machine: a stand-in for apt-get."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import programs
from tests.support.deployment import ROOT

APT = """#!/bin/sh
echo "$@" >> "$LOG"
case "$*" in *install*) /bin/sleep 0.2
for name in chromium redis-server initdb postgres nginx strace promtool; do
echo "#!/bin/sh" > "$BIN/$name"; /bin/chmod +x "$BIN/$name"; done;; esac
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Debian with apt-get alone on PATH; return the folder that is its PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "apt-get").write_text(APT)
    (folder / "apt-get").chmod(0o755)
    (tmp_path / "os-release").write_text('NAME="Debian GNU/Linux"\nID=debian\n')
    monkeypatch.delenv("CHROMIUM", raising=False)
    for name, value in {"PATH": folder, "BIN": folder, "LOG": tmp_path / "log"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(programs, "RELEASE", tmp_path / "os-release")
    monkeypatch.setattr(programs, "_POLICY", tmp_path / "policy-rc.d")
    monkeypatch.setattr(programs, "_POSTGRES", tmp_path / "postgresql")
    monkeypatch.setattr(programs, "_SYSTEM_PROGRAMS", str(folder))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return folder


def test_two_runs_at_once_install_once(machine: Path, tmp_path: Path) -> None:
    """Of two runs one installs both programs, and the other waits for it."""
    code = f"""import os; from pathlib import Path; from scripts import programs
programs.RELEASE = Path({str(tmp_path / "os-release")!r}); programs._POLICY = Path({str(tmp_path / "p")!r})
programs._POSTGRES = Path({str(tmp_path / "postgresql")!r}); programs._SYSTEM_PROGRAMS = os.environ["BIN"]
os.geteuid = lambda: 0
print(programs.ensure(Path({str(tmp_path / "tools")!r})))"""

    def run() -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, text=True, stdout=-1, stderr=-1)

    with run() as first, run() as second:
        assert {process.communicate(timeout=60)[0].strip() for process in (first, second)} == {"[]"}
    called = (tmp_path / "log").read_text().splitlines()
    assert [line.split()[-1] for line in called] == ["update", "prometheus"]
    assert programs.find_browser() == machine / "chromium"


@pytest.mark.parametrize("why", ["not root", "Ubuntu", "apt-get fails"])
def test_what_cannot_be_installed_is_named(
    machine: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    why: str,
) -> None:
    """Where apt cannot bring them, the line says what to install, and the set-up goes on."""
    monkeypatch.setattr(programs, "TOOLS", tmp_path / "tools")
    if why == "not root":
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
    elif why == "Ubuntu":
        (tmp_path / "os-release").write_text("ID=ubuntu\nID_LIKE=debian\n")
    else:
        (machine / "apt-get").write_text('#!/bin/sh\necho "$@" >> "$LOG"; exit 100\n')
    assert programs.main() == 0
    told = capfd.readouterr().err.splitlines()
    assert "apt-get install chromium redis-server postgresql nginx strace prometheus" in told[-1]
    assert (tmp_path / "log").exists() is (why == "apt-get fails")
    if why == "apt-get fails":
        assert told[-2].startswith("apt-get update failed")
