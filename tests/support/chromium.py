"""A real browser, Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support.programs import without

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture
def browser() -> Iterator[Browser]:
    """Chromium without a window; without one the test is skipped, or fails in CI."""
    program = shutil.which("chromium")
    if program is None:
        without("chromium", "install Chromium, for example Debian's package chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="install the extra [dev]")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--headless"])
        try:
            yield started
        finally:
            started.close()
