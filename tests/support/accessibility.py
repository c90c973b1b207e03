"""What keeps people out of a page, by axe-core; in which ways a page is looked at; and pictures of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from scripts import frontend
from tests.support import programs
from tests.support.deployment import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

PICTURES = ROOT / "build" / "pictures"
_AXE = """async () => {
  const { violations } = await globalThis.axe.run(document, { resultTypes: ["violations"] });
  return violations.map(({ id, impact, nodes }) => [impact, id, nodes.map((node) => node.html)]);
}"""

looks = pytest.mark.parametrize(
    ("name", "options"),
    [
        ("light", {"color_scheme": "light"}),
        ("dark", {"color_scheme": "dark"}),
        ("phone", {"color_scheme": "light", "viewport": {"width": 360, "height": 740}, "has_touch": True}),
    ],
)
"""A test in light, in dark and on a phone, by a browser's options."""


@pytest.fixture(scope="session")
def axe() -> Path:
    """axe-core, as a script for a page."""
    try:
        return frontend.ensure_modules() / "axe-core" / "axe.min.js"
    except frontend.NoFrontend as error:
        programs.without("axe-core", str(error))


def serious(page: Page) -> list[Any]:
    """Return what axe-core calls serious or critical in the page as it stands."""
    return [found for found in page.evaluate(_AXE) if found[0] in ("serious", "critical")]


def picture(page: Page, name: str) -> None:
    """Take a picture for a look; the folder is git's to ignore, and two runs may write at once."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    unfinished = PICTURES / f".{name}.{os.getpid()}.png"
    page.screenshot(path=unfinished, full_page=True)
    unfinished.replace(PICTURES / f"{name}.png")
