"""The page for operators: its table of metrics is what is exposed."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.dev import ConsoleRenderer

from tests.support.deployment import ROOT
from webcall.core.counters import Counters
from webcall.core.watch.counters import WatchCounters

PAGE = (ROOT / "docs" / "operating.md").read_text("utf-8")
UNITS = {path.name for path in (ROOT / "deploy").glob("*.service")}


def exposed(exposition: bytes) -> set[str]:
    """Return the names as Prometheus has them: a counter's with `_total`."""
    families = text_string_to_metric_families(exposition.decode())
    # prometheus_client adds when a series began, where one process counts for itself.
    own = [one for one in families if one.type != "gauge" or not one.name.endswith("_created")]
    return {one.name + ("_total" if one.type == "counter" else "") for one in own}


@pytest.mark.parametrize(
    ("heading", "counters"),
    [("| Metric |", Counters), ("| The watcher's metric |", WatchCounters)],
    ids=["service", "watcher"],
)
def test_every_metric_is_on_the_page_and_the_reverse(heading: str, counters: Any) -> None:
    """The page's tables of metrics name each that the service, and the watcher, expose, and no other."""
    table = PAGE.partition(heading)[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == exposed(counters().exposition())


def block(name: str) -> list[str]:
    """Return the lines of the block of the shell that is marked with a name."""
    return PAGE.partition(f"<!-- {name} -->\n```sh\n")[2].partition("\n```")[0].splitlines()


def piped(line: str, journal: str) -> list[str]:
    """Return what comes of a journal that is piped into all that stands behind a line's first pipe."""
    rest = line.partition(" | ")[2]
    ended = subprocess.run(["sh", "-c", rest], input=journal, capture_output=True, text=True, check=True)
    return ended.stdout.splitlines()


def test_a_call_is_found_in_the_journal() -> None:
    """What the page pipes the journal into finds a call by its request's id and by its room, and failures."""
    sample = json.loads(PAGE.partition("<!-- log -->\n```json\n")[2].partition("\n```")[0])
    room, request = sample["room"], sample["request_id"]
    lines = [
        sample,
        {"event": "livekit failed", "request_id": request, "level": "error"},
        {"event": "call begins", "room": room, "job": "AJ_x", "level": "info"},
        {"event": "request", "status": 500, "request_id": "another"},
        {"event": "request", "status": 200, "room": "other", "request_id": "500"},
    ]
    journal = "".join(json.dumps(line) + "\n" for line in lines)
    found = []
    for line in block("find"):
        called = line.partition(" | ")[0]
        assert called.startswith("journalctl ")
        units = re.findall(r"-u (\S+)", called)
        assert {f"{unit}.service" for unit in units} <= UNITS
        found.append([json.loads(one) for one in piped(line, journal)])
    assert found == [lines[:2], [lines[0], lines[2]], [lines[3]]]


def test_what_the_night_asks_for() -> None:
    """The first look names the units that there are, default addresses, and a line as it is written."""
    lines = "\n".join(block("night"))
    settings = (ROOT / "config.yaml").read_text("utf-8")
    assert {f"{name}.service" for name in re.findall(r"\bwebcall(?:-\w+)?\b(?=[ \n-])", lines)} >= UNITS
    for address in re.findall(r"http://(127\.0\.0\.1:\d+)", PAGE):
        port = address.rpartition(":")[2]
        assert port in settings or port == "7880", address
    [journal] = [line for line in block("night") if line.startswith("journalctl ")]
    levels = ["debug", "info", "warning", "error"]
    written = "".join(json.dumps({"event": "x", "level": level}) + "\n" for level in levels)
    assert [json.loads(line)["level"] for line in piped(journal, written)] == ["warning", "error"]


def test_what_the_night_asks_for_beside_make_run(tmp_path: Path) -> None:
    """There its block finds errors and warnings as people read them, in the files of `make run`."""
    logs = tmp_path / "instance" / "logs"
    logs.mkdir(parents=True)
    people = ConsoleRenderer(colors=False)
    for name in ("webcall", "watch", "worker"):
        lines = [
            str(people(None, level, {"event": "x", "level": level, "logger": name, "timestamp": "t"})) + "\n"
            for level in ("info", "warning", "error")
        ]
        (logs / f"{name}.log").write_text("".join(lines))
    grep = block("night at make run")[-1]
    found = subprocess.run(["sh", "-c", grep], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert re.findall(r"/(\w+)\.log:t \[(\w+)", found.stdout) == [
        (name, level) for name in ("webcall", "watch", "worker") for level in ("warning", "error")
    ]
