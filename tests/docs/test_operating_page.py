"""The page for operators: its table of metrics is what is exposed."""

from __future__ import annotations

import re

from prometheus_client.parser import text_string_to_metric_families

from tests.support.deployment import ROOT
from webcall.core.counters import Counters

PAGE = (ROOT / "docs" / "operating.md").read_text("utf-8")


def exposed() -> set[str]:
    """Return the names as Prometheus has them: a counter's with `_total`."""
    families = text_string_to_metric_families(Counters().exposition().decode())
    # prometheus_client adds when a series began, where one process counts for itself.
    own = [one for one in families if one.type != "gauge" or not one.name.endswith("_created")]
    return {one.name + ("_total" if one.type == "counter" else "") for one in own}


def test_every_metric_is_on_the_page_and_the_reverse() -> None:
    """The page's table of metrics names each that the service exposes, and no other."""
    table = PAGE.partition("| Metric |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == exposed()
