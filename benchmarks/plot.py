"""The picture that the README shows, from what `benchmarks.compare --json` has written.

    python -m benchmarks.plot FILE [FILE ...] --to docs/benchmark.svg

A row per server, a column per file: CPU seconds per token as the ratio to the FastAPI peer's in the same
round, the median of the rounds as a bar, the least and the greatest as a line, and under each ratio the
median of the seconds for 1,000 tokens. Written by hand, since such a file follows the reader's light or dark
theme, has real text in it, and is the same, word for word, for the same figures.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from benchmarks.compare import DELAYS_MS, REAL
from benchmarks.contestants import FASTAPI, SERVICE, WORDS

_WIDTH, _MARGIN = 880, 24
_NAMES = 216
_HEAD, _ROW, _FOOT = 124, 44, 62
# To the right of a bar stands its ratio, and then the next column begins.
_VALUE = 56

_STYLE = """
text { font: 13px -apple-system, BlinkMacSystemFont, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif;
  fill: #1f2328 }
.title { font-size: 17px; font-weight: 600 }
.ours { font-weight: 600 }
.small { font-size: 11px }
.muted { fill: #59636e }
.middle { text-anchor: middle }
.card, .ground { fill: #ffffff }
.card { stroke: #d1d9e0 }
.over { paint-order: stroke; stroke: #ffffff; stroke-width: 4px; stroke-linejoin: round }
.bar { fill: #aeb6bf }
.bar.ours { fill: #0969da }
.spread { stroke: #1f2328; stroke-width: 1.25 }
.axis { stroke: #d1d9e0 }
.one { stroke: #59636e; stroke-dasharray: 3 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .muted { fill: #9198a1 }
  .card, .ground { fill: #0d1117 }
  .card { stroke: #3d444d }
  .over { stroke: #0d1117 }
  .bar { fill: #656c76 }
  .bar.ours { fill: #4493f8 }
  .spread { stroke: #f0f6fc }
  .axis { stroke: #3d444d }
  .one { stroke: #9198a1 }
}
"""


@dataclass(frozen=True)
class Bar:
    """A server's ratios, least, median and greatest, and its CPU seconds for 1,000 tokens."""

    least: float
    middle: float
    greatest: float
    seconds: float


def bars(told: dict[str, Any]) -> dict[str, Bar]:
    """Return a bar for each server of a run. Raises `SystemExit` if the FastAPI peer is not among them."""
    taken = {name: [one["cpu_s_per_1000"] for one in rounds] for name, rounds in told["rounds"].items()}
    if FASTAPI not in taken:
        raise SystemExit(f"{FASTAPI} was not measured, to which the others are set in relation")
    found = {}
    for name, seconds in taken.items():
        ratios = [ours / its for ours, its in zip(seconds, taken[FASTAPI], strict=True)]
        found[name] = Bar(min(ratios), statistics.median(ratios), max(ratios), statistics.median(seconds))
    return found


def heading(run: dict[str, str]) -> tuple[str, str]:
    """Return what a column is about, and a word more."""
    if run["livekit"] == REAL:
        return "Real LiveKit", "its server on loopback"
    delay_ms = DELAYS_MS[run["livekit"]]
    return f"LiveKit in {delay_ms} ms" if delay_ms else "LiveKit at once", "a stand-in"


def caption(told: dict[str, Any]) -> str:
    """Return how it was made."""
    run, machine = told["run"], told["machine"]
    workers = "one worker" if run["workers"] == "1" else f"{run['workers']} workers"
    return (
        f"Medians of {run['rounds']} shuffled rounds, the least and the greatest as a line; {workers}, "
        f"{run['connections']} connections, {machine['cores']} cores, Python {machine['python']}: make bench."
    )


class Picture:
    """The SVG as it grows."""

    def __init__(self, height: float, title: str) -> None:
        box = f"0 0 {_WIDTH} {height:g}"
        self.root = ElementTree.Element(
            "svg", xmlns="http://www.w3.org/2000/svg", viewBox=box, width=str(_WIDTH), role="img"
        )
        ElementTree.SubElement(self.root, "title").text = title
        ElementTree.SubElement(self.root, "style").text = _STYLE
        # A ground of its own, in the colours of the same theme as the text, whatever the page's is.
        self.rectangle(0.5, 0.5, _WIDTH - 1, height - 1, "card", 8)

    def rectangle(self, x: float, y: float, width: float, height: float, kind: str, corner: float) -> None:
        """Draw a rectangle."""
        self._add("rect", kind, x=x, y=y, width=width, height=height, rx=corner)

    def line(self, x: float, y: float, to_x: float, to_y: float, kind: str) -> None:
        """Draw a line."""
        self._add("line", kind, x1=x, y1=y, x2=to_x, y2=to_y)

    def text(self, x: float, y: float, words: str, kind: str = "") -> None:
        """Write a line of text that begins, or with `middle` has its middle, at `x`."""
        self._add("text", kind, x=x, y=y).text = words

    def _add(self, tag: str, kind: str, **numbers: float) -> ElementTree.Element:
        attributes = {name: f"{round(value, 1):g}" for name, value in numbers.items()}
        return ElementTree.SubElement(self.root, tag, {"class": kind} if kind else {}, **attributes)


def draw(runs: list[dict[str, Any]]) -> ElementTree.Element:
    """Return the picture of runs, one column for each."""
    columns = [bars(told) for told in runs]
    names = [name for name in WORDS if any(name in column for column in columns)]
    bottom = _HEAD + _ROW * len(names)
    title = "What a token costs in CPU, beside FastAPI"
    picture = Picture(bottom + _FOOT, title)
    picture.text(_MARGIN, 36, title, "title")
    picture.text(
        _MARGIN,
        57,
        "Ratio to FastAPI with one request to LiveKit, less is better; below it CPU seconds for 1,000 tokens",
        "muted",
    )
    for row, name in enumerate(names):
        ours = "ours" if name == SERVICE else ""
        picture.text(_MARGIN, _HEAD + _ROW * row + 19, WORDS[name][0], ours)
        picture.text(_MARGIN, _HEAD + _ROW * row + 34, WORDS[name][1], "small muted")
    width = (_WIDTH - 2 * _MARGIN - _NAMES) / len(runs)
    # One scale for all, so that columns can be compared.
    greatest = max(bar.greatest for column in columns for bar in column.values())
    scale = (width - _VALUE) / greatest
    for number, (told, column) in enumerate(zip(runs, columns, strict=True)):
        left = _MARGIN + _NAMES + width * number
        about, more = heading(told["run"])
        picture.text(left, _HEAD - 32, about, "ours")
        picture.text(left, _HEAD - 16, more, "small muted")
        _draw_column(picture, [(name, column.get(name)) for name in names], left, scale)
    picture.text(_MARGIN, bottom + 44, caption(runs[0]), "small muted")
    return picture.root


def _draw_column(picture: Picture, column: list[tuple[str, Bar | None]], left: float, scale: float) -> None:
    bottom = _HEAD + _ROW * len(column)
    most = max((bar.greatest for _, bar in column if bar is not None), default=0)
    # Few enough for labels that do not touch.
    step = max(1, math.ceil(24 / scale))
    for tick in {0, 1, *range(0, math.floor(most) + 1, step)}:
        at = left + tick * scale
        picture.line(at, _HEAD - 6, at, bottom, "one" if tick == 1 else "axis")
        picture.text(at, bottom + 14, f"{tick}\N{MULTIPLICATION SIGN}" if tick else "0", "small muted middle")
    for row, (name, bar) in enumerate(column):
        if bar is None:
            continue
        top = _HEAD + _ROW * row + 8
        ours = " ours" if name == SERVICE else ""
        picture.rectangle(left, top, bar.middle * scale, 14, f"bar{ours}", 2)
        if bar.greatest > bar.least:
            picture.line(left + bar.least * scale, top + 7, left + bar.greatest * scale, top + 7, "spread")
        end = left + max(bar.greatest, bar.middle) * scale + 6
        picture.text(end, top + 12, f"{bar.middle:.2f}", f"over{ours}")
        # Lines of the axis would run between figure and unit.
        picture.rectangle(left + 1, top + 16, 38, 14, "ground", 0)
        picture.text(left + 2, top + 27, f"{bar.seconds:.2f} s", "small muted")


def main() -> None:
    """Draw it."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    options.add_argument("files", nargs="+", type=Path)
    options.add_argument("--to", type=Path, required=True)
    given = options.parse_args()
    root = draw([json.loads(file.read_text()) for file in given.files])
    ElementTree.indent(root)
    given.to.write_text(ElementTree.tostring(root, encoding="unicode") + "\n", "utf-8")


if __name__ == "__main__":
    main()
