"""The picture of what a token costs: its figures, and that a reader can make them out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest

from benchmarks.compare import DELAYS_MS, REAL
from benchmarks.plot import bars, draw

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# The corners of every text and what a reader sees of its colour and of the ground's.
LOOK = """() => {
  const texts = [...document.querySelectorAll("text")];
  const ground = getComputedStyle(document.querySelector(".card")).fill;
  return texts.map((one) => {
    const {x, y, width, height} = one.getBBox();
    return {words: one.textContent, x, y, width, height, fill: getComputedStyle(one).fill, ground};
  });
}"""
WIDTH = 880


def run(kind: str, **seconds: list[float]) -> dict[str, Any]:
    """Return what `benchmarks.compare` writes of a run."""
    names = {"usual": "fastapi-usual"}
    return {
        "machine": {"python": "3.13.12", "cores": 64, "system": "Linux"},
        "run": {"livekit": kind, "rounds": "9", "connections": "256", "workers": "16"},
        "rounds": {
            names.get(name, name): [{"cpu_s_per_1000": one} for one in taken]
            for name, taken in seconds.items()
        },
    }


def runs() -> list[dict[str, Any]]:
    """Return runs of all kinds, with servers that are far from each other."""
    return [
        run(
            kind,
            service=[1.2, 1.4, 1.3],
            fastapi=[0.7, 0.7, 0.8],
            usual=[2.5, 2.4, 2.6],
            express=[0.9, 0.9, 1.0],
            floor=[0.07, 0.08, 0.08],
        )
        for kind in (*DELAYS_MS, REAL)
    ]


def test_a_ratio_is_that_of_one_round() -> None:
    """What slows a round down slows both: the median of the ratios, not the ratio of the medians."""
    bar = bars(run("stand-in", service=[2, 4, 12], fastapi=[1, 4, 4]))["service"]
    assert (bar.least, bar.middle, bar.greatest, bar.seconds) == (1, 2, 3, 4)


def test_without_the_peer_there_is_nothing_to_show() -> None:
    """A run without the server that all are set beside ends with a line that names it."""
    with pytest.raises(SystemExit, match="fastapi"):
        bars(run("stand-in", service=[1.0]))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_label_can_be_read(browser: Browser, theme: Any) -> None:
    """Labels lie inside the picture, upon no other label, and differ from the ground in either theme."""
    page = browser.new_page(color_scheme=theme)
    page.set_content(ElementTree.tostring(draw(runs()), encoding="unicode"))
    seen = page.evaluate(LOOK)
    height = float(page.locator("svg").get_attribute("viewBox").split()[3])  # type: ignore[union-attr]
    assert {"This service", "Express", "Real LiveKit", "1\N{MULTIPLICATION SIGN}"} <= {
        one["words"] for one in seen
    }
    for number, one in enumerate(seen):
        assert one["x"] >= 0, one
        assert one["x"] + one["width"] <= WIDTH, one
        assert one["y"] + one["height"] <= height, one
        assert abs(_light(one["fill"]) - _light(one["ground"])) > 90, one
        for other in seen[number + 1 :]:
            # Boxes hold the room of letters that go deep or high, which may meet.
            beside = one["x"] + one["width"] <= other["x"] or other["x"] + other["width"] <= one["x"]
            above = abs(one["y"] - other["y"]) >= 10
            assert beside or above, (one, other)


def _light(colour: str) -> float:
    """Return how light a colour is, from 0 to 255."""
    return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(","))) / 3
