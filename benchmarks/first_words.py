"""How long a person waits: from the click to the first words, typed and spoken, in a real browser.

    python -m benchmarks.first_words [--calls 20] [--service http://127.0.0.1:8000]

Calls the sample assistant of a running `make run`, one call after the other. `joined`, `assistant`, `word`
and `audio` are counted from the click; `typed` from the key that sends a message to the reply's first word,
`spoken` from the last sound of a spoken question to the reply's first word. All are taken in the page. The
figures are those of the machine and of what else it does: its load is printed with them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from scripts.children import Problem
from scripts.programs import find_browser
from scripts.sample import ASSISTANT_ID, METADATA
from scripts.screenshot import SERVICE, sample_key
from tests.support.browser import Browsers, Visitor, write_sound

STEPS = ("joined", "assistant", "word", "audio", "typed", "spoken")
# After the greeting has begun and a typed message is answered.
SPEAKS_AT_S = 6.0
# The last sound of the person's before the first word that the assistant has for it.
_SPOKEN = """() => new Promise((resolve) => {
  let sounded = 0;
  new MutationObserver(([{ target }]) => {
    sounded = Number(target.dataset.level) > 5 ? performance.now() : sounded;
  }).observe(document.querySelector("#level-you"), { attributeFilter: ["data-level"] });
  const list = document.querySelector("#transcript");
  new MutationObserver(() => {
    const entries = [...list.querySelectorAll(".entry")];
    const asked = entries.findLastIndex(({ dataset }) => dataset.from === "you" && dataset.typed === "false");
    const after = asked < 0 ? [] : entries.slice(asked);
    const answer = after.find(({ dataset }) => dataset.from === "assistant");
    if (answer?.querySelector(".words").textContent) {
      resolve(Math.round(performance.now() - sounded));
    }
  }).observe(list, { childList: true, subtree: true, characterData: true });
})"""


def measure(visitor: Visitor, api_key: str) -> dict[str, int]:
    """Make one call; return the milliseconds of each step."""
    visitor.open()
    visitor.fill(ASSISTANT_ID, METADATA, api_key=api_key)
    visitor.page.click("#start")
    visitor.until_state("joined")
    visitor.page.locator("#timings [data-timing=audio][data-ms]").wait_for()
    visitor.type("repeat after me: yes")
    visitor.until_said("^yes")
    spoken: int = visitor.page.evaluate(_SPOKEN)
    found = {step: visitor.timing(step) for step in ("joined", "assistant", "word", "audio")}
    return {**found, "typed": visitor.timing("reply"), "spoken": spoken}


def main(arguments: list[str]) -> int:
    """Measure and print; status 1 and a line that says why if it cannot be done."""
    parser = argparse.ArgumentParser(description="Seconds from a click to an assistant's words.")
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--service", default=SERVICE)
    chosen = parser.parse_args(arguments)
    program = find_browser()
    try:
        if program is None:
            raise Problem("no Chromium: `python -m scripts.programs` says how to get one")
        api_key = sample_key()
    except Problem as error:
        print(error, file=sys.stderr)
        return 1
    before = os.getloadavg()[0]
    found: list[dict[str, int]] = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        sound = write_sound(Path(folder) / "asked.wav", [(SPEAKS_AT_S, "What time is it?")])
        browsers = Browsers(playwright, program)
        for _ in range(chosen.calls):
            context = browsers.with_microphone(sound).new_context(permissions=["microphone"])
            visitor = Visitor.enter(context, chosen.service.rstrip("/"))
            found.append(measure(visitor, api_key))
            visitor.leave()
        browsers.close()
    load = f"load {before:.1f} before, {os.getloadavg()[0]:.1f} after"
    print(f"{chosen.calls} calls; {load}, {os.cpu_count()} cores")
    print(f"{'ms':<12}{'median':>8}{'worst':>8}")
    for step in STEPS:
        times = [one[step] for one in found]
        print(f"{step:<12}{statistics.median(times):>8.0f}{max(times):>8}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
