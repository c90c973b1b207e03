"""Make the README's picture of the playground: a call with the sample assistant of a running `make run`.

`python -m scripts.screenshot [SERVICE [FILE]]`, by default http://127.0.0.1:8000 and docs/playground.png.
Needs a Chromium (CHROMIUM names it where it is not on PATH).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from playwright.sync_api import Error, Page, sync_playwright

from scripts.children import Problem
from scripts.programs import find_browser
from scripts.sample import ASSISTANT_ID, METADATA

ROOT = Path(__file__).resolve().parent.parent
SERVICE = "http://127.0.0.1:8000"
PICTURE = ROOT / "docs" / "playground.png"
ASKED = ("What time is it?", "What do you know about me?")
# A microphone of the browser's own making, sound without a click, and a server on this machine alone.
ARGUMENTS = (
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
)
PATIENCE_MS = 30_000


def sample_key() -> str:
    """Return the key that `make run` made. Raises `Problem` if it has not run here."""
    path = Path(os.environ.get("WEBCALL_INSTANCE") or ROOT / "instance") / "sample_key.json"
    try:
        return str(json.loads(path.read_text("utf-8"))["api_key"])
    except (OSError, ValueError, KeyError):
        raise Problem(f"{path} cannot be read: start `make run` first, and leave it running") from None


def converse(page: Page, service: str, api_key: str) -> None:
    """Call the sample assistant, ask what it answers well, and wait until the last answer is heard."""
    page.goto(f"{service}/playground")
    page.fill("#api-key", api_key)
    page.press("#api-key", "Tab")
    page.locator(f"#assistant option[value={ASSISTANT_ID}]").wait_for(state="attached")
    page.select_option("#assistant", ASSISTANT_ID)
    page.fill("#metadata", json.dumps(METADATA))
    page.click("#start")
    said = page.locator('.entry[data-from="assistant"][data-final="true"]')
    said.first.wait_for()
    for place, text in enumerate(ASKED, start=1):
        page.fill("#message", text)
        page.press("#message", "Enter")
        said.nth(place).wait_for()
    page.wait_for_function("() => Number(document.getElementById('level-assistant').dataset.level) > 30")


def main(arguments: list[str]) -> int:
    """Write the picture; status 1 and a line that says why if it cannot be made."""
    service = arguments[0].rstrip("/") if arguments else SERVICE
    picture = Path(arguments[1]) if len(arguments) > 1 else PICTURE
    try:
        api_key, browser = sample_key(), find_browser()
        if browser is None:
            raise Problem("no Chromium on PATH: install one, or name it: CHROMIUM=/path/to/chromium")
        # Chromium's sandbox does not work for root.
        sandbox = [] if os.geteuid() else ["--no-sandbox"]
        with sync_playwright() as playwright:
            started = playwright.chromium.launch(executable_path=browser, args=[*ARGUMENTS, *sandbox])
            context = started.new_context(
                viewport={"width": 1080, "height": 720}, device_scale_factor=1.3, permissions=["microphone"]
            )
            context.set_default_timeout(PATIENCE_MS)
            page = context.new_page()
            try:
                converse(page, service, api_key)
                page.screenshot(path=picture)
                page.click("#hangup")
                page.locator("#state[data-state=ended]").wait_for()
            finally:
                started.close()
    except Problem as error:
        print(error, file=sys.stderr)
        return 1
    except Error as error:
        # Its first line; the rest is a call log, with what was typed.
        print(f"the playground at {service}: {error.message.splitlines()[0]}", file=sys.stderr)
        return 1
    print(picture)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
