"""The page about several machines shows what is deployed."""

from __future__ import annotations

import re

from scripts.servers import NGINX_TEMPLATE
from tests.support.deployment import ROOT


def test_the_page_shows_nginxs_settings() -> None:
    """The block on the page is the file that `make cluster` and compose.yaml use."""
    page = (ROOT / "docs" / "several-machines.md").read_text()
    [shown] = re.findall(r"<!-- deploy/nginx\.conf\.template -->\n```nginx\n(.*?)```\n", page, re.DOTALL)
    assert shown == NGINX_TEMPLATE.read_text()
