"""The picture that the README shows, from what `benchmarks.compare --json` has written.

    python -m benchmarks.plot FILE [FILE ...] --to docs/benchmark.svg

One panel per file: CPU seconds per 1,000 tokens of each server, the median of its rounds, with the least and
the greatest as a line.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt  # after the choice above

_OURS, _OTHERS = "#1f6feb", "#8c959f"


def title(run: dict[str, Any]) -> str:
    """Return what was measured, from the options of the run."""
    workers = "one worker" if run["workers"] == "1" else f"{run['workers']} workers"
    return f"LiveKit: {run['livekit']}, {run['connections']} connections, {workers}"


def draw(files: list[Path], to: Path) -> None:
    """Draw a panel for each file, one under the other, into `to`."""
    # The same input gives the same file, word for word.
    mpl.rcParams["svg.hashsalt"] = "webcall"
    figure, panels = plt.subplots(len(files), figsize=(8, 0.6 + 2.2 * len(files)), squeeze=False)
    for axis, file in zip(panels[:, 0], files, strict=True):
        told = json.loads(file.read_text())
        names = list(told["rounds"])
        taken = [[one["cpu_s_per_1000"] for one in told["rounds"][name]] for name in names]
        middle = [statistics.median(one) for one in taken]
        spread = [
            [median - min(one) for median, one in zip(middle, taken, strict=True)],
            [max(one) - median for median, one in zip(middle, taken, strict=True)],
        ]
        colours = [_OURS if name == "service" else _OTHERS for name in names]
        bars = axis.barh(names, middle, xerr=spread, color=colours, error_kw={"elinewidth": 1})
        axis.bar_label(bars, [f" {value:.2f}" for value in middle], padding=12, fontsize=8)
        axis.invert_yaxis()
        axis.margins(x=0.15)
        axis.set_title(title(told["run"]), fontsize=9, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
    panels[-1, 0].set_xlabel("CPU seconds of the whole process tree, per 1,000 tokens")
    figure.tight_layout()
    figure.savefig(to, metadata={"Date": None})


def main() -> None:
    """Draw it."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    options.add_argument("files", nargs="+", type=Path)
    options.add_argument("--to", type=Path, required=True)
    given = options.parse_args()
    draw(given.files, given.to)


if __name__ == "__main__":
    main()
