"""The units for systemd in deploy/: what they start is there, and they agree with the settings."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.deployment import ROOT

HOME = "/srv/webcall"
UNITS = {
    "webcall.service": "gunicorn",
    "webcall-watch.service": "flask webcall watch",
    "webcall-worker.service": "python -m webcall.worker start",
}


def settings_of(unit: str) -> dict[str, list[str]]:
    """Return a unit's settings, as `Section.Name`, each with its values in their order."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in (ROOT / "deploy" / unit).read_text("utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            assert equals, line
            found.setdefault(f"{section}.{name}", []).append(value)
    return found


def test_there_are_no_other_units() -> None:
    """Each unit of deploy/ is held by these tests."""
    assert {path.name for path in (ROOT / "deploy").glob("*.service")} == set(UNITS)


@pytest.mark.parametrize("unit", UNITS)
def test_what_a_unit_starts(unit: str) -> None:
    """A unit starts a program of the environment, without rights, and not again on wrong settings."""
    found = settings_of(unit)
    [command] = found["Service.ExecStart"]
    assert command == f"{HOME}/.venv/bin/{UNITS[unit]}"
    assert (ROOT / ".venv" / "bin" / UNITS[unit].split()[0]).exists()
    assert found["Service.WorkingDirectory"] == [HOME]
    assert found["Service.User"] == ["webcall"]
    assert found["Service.EnvironmentFile"][0] == "/etc/webcall.env"
    assert found["Service.RestartPreventExitStatus"] == ["2"]
    assert found["Service.Restart"] == ["on-failure"]
    assert int(found["Service.RestartSec"][0]) > 2, "else systemd gives up after five starts in ten seconds"
    assert found["Service.ProtectSystem"] == ["strict"]
    assert found["Install.WantedBy"] == ["multi-user.target"]


def test_the_time_to_stop() -> None:
    """Each has longer to stop than its program takes: requests that run, calls that go on."""
    [graceful_s] = re.findall(r"^graceful_timeout = (\d+)$", (ROOT / "gunicorn.conf.py").read_text(), re.M)
    assert int(settings_of("webcall.service")["Service.TimeoutStopSec"][0]) > int(graceful_s)
    [default_s] = re.findall(r"WEBCALL_WORKER_DRAIN_S:-(\d+)", (ROOT / "config.yaml").read_text())
    assert int(settings_of("webcall-worker.service")["Service.TimeoutStopSec"][0]) >= int(default_s) + 30


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_reads_a_unit(unit: str, tmp_path: Path) -> None:
    """No fault is found in a unit, whose programs stand in this folder here."""
    copy = tmp_path / unit
    text = (ROOT / "deploy" / unit).read_text("utf-8")
    copy.write_text(text.replace(HOME, str(ROOT)))
    ended = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert unit not in ended.stderr
