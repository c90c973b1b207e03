"""The page for operators: its table of metrics is what is exposed."""

from __future__ import annotations

import re
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.deployment import ROOT
from webcall.core.counters import Counters
from webcall.core.watch.counters import WatchCounters

PAGE = (ROOT / "docs" / "operating.md").read_text("utf-8")


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
