"""The example alert rules and the example dashboard: they are valid, they work, and what they name exists."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from livekit.agents.telemetry import metrics  # noqa: F401  # the worker's, which register themselves
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.support import programs
from tests.support.deployment import ROOT
from webcall.core.counters import Counters
from webcall.core.watch.counters import WatchCounters

RULES = ROOT / "deploy" / "alerts.yaml"
DASHBOARD = ROOT / "deploy" / "grafana-dashboard.json"
PAGE = ROOT / "docs" / "operating.md"


@pytest.fixture(scope="module")
def promtool() -> str:
    """The program; without it the tests are skipped, or fail in CI."""
    return shutil.which("promtool") or programs.without("promtool", "install the package prometheus")


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard_queries() -> Iterator[str]:
    board = json.loads(DASHBOARD.read_text("utf-8"))
    for panel in board["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (one["definition"] for one in board["templating"]["list"] if one["type"] == "query")


def test_the_rules_are_valid_and_fire_when_they_should(promtool: str, tmp_path: Path) -> None:
    """Prometheus' own tool takes the rules, and their story of nights and quiet days comes true."""
    told = (ROOT / "tests" / "monitoring" / "alerts.test.yaml").read_text("utf-8")
    stories = tmp_path / "stories.yaml"
    stories.write_text(told.replace("${RULES}", str(RULES)))
    for arguments in (["check", "rules", RULES], ["test", "rules", stories]):
        ran = subprocess.run([promtool, *arguments], capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_alert_is_tried() -> None:
    """Each alert fires in one of the stories."""
    told = (ROOT / "tests" / "monitoring" / "alerts.test.yaml").read_text("utf-8")
    assert [rule["alert"] for rule in alerts() if told.count(rule["alert"]) == 0] == []


def test_the_dashboards_queries_can_be_read(promtool: str, tmp_path: Path) -> None:
    """Each query of the dashboard is PromQL, and no two panels are the same."""
    queries = [query for query in dashboard_queries() if not query.startswith("label_values(")]
    plain = [one.replace("$__rate_interval", "5m").replace("$job", "webcall") for one in queries]
    recorded = [{"record": f"query_{number}", "expr": expr} for number, expr in enumerate(plain)]
    rules = tmp_path / "queries.yaml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    ran = subprocess.run([promtool, "check", "rules", rules], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    ids = [panel["id"] for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]]
    assert len(ids) == len(set(ids))


ENDINGS = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}


def exposed_by(exposition: bytes) -> set[str]:
    """Return the names of the series of an exposition's metrics, also of those that have no line yet."""
    families = text_string_to_metric_families(exposition.decode())
    return {family.name + ending for family in families for ending in ENDINGS.get(family.type, ("",))}


def test_what_they_name_exists() -> None:
    """Every metric in the rules and in the dashboard is exposed by the service, the watcher or the worker."""
    known = exposed_by(Counters().exposition() + WatchCounters().exposition() + generate_latest(REGISTRY))
    queries = [*dashboard_queries(), *(rule["expr"] for rule in alerts())]
    named = {name for query in queries for name in re.findall(r"\b(?:webcall|lk)_\w+", query)}
    assert len(named) > 20
    assert named - known == set()


@pytest.mark.parametrize("page", ["operating.md", "containers.md"])
def test_what_a_page_has_scraped(page: str, promtool: str, tmp_path: Path) -> None:
    """Prometheus takes the settings; the jobs are the rules', with the token where one is asked for."""
    blocks = re.findall(r"```yaml\n(scrape_configs:.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)
    assert len(blocks) == 1
    settings = tmp_path / "prometheus.yml"
    settings.write_text(blocks[0])
    command = [promtool, "check", "config", "--syntax-only", settings]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    jobs = {job["job_name"]: "authorization" in job for job in yaml.safe_load(blocks[0])["scrape_configs"]}
    # http.metrics_token is the service's and the watcher's; the worker knows none.
    assert jobs == {"webcall": True, "webcall-watch": True, "webcall-worker": False}
    assert all(f'job="{job}"' in RULES.read_text() for job in jobs)


def test_two_watchers_count_people_once() -> None:
    """Each watcher tells of all rooms: the dashboard does not add what they tell."""
    gauges = re.compile(
        r"sum\b[^(]*\(webcall_watch_(people_without_assistant|rooms|last_sweep_age_seconds)\b"
    )
    assert [query for query in dashboard_queries() if gauges.search(query)] == []


def test_the_page_says_what_to_do() -> None:
    """Every alert is in the operators' table of alerts with what to do, and no other is there."""
    table = PAGE.read_text("utf-8").partition("| Alert |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == [rule["alert"] for rule in alerts()]
    assert {rule["labels"]["severity"] for rule in alerts()} == {"page", "warn"}
