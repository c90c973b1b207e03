"""What every fault of the suite does, measured, for docs/reliability.md.

`python -m scripts.faults_table` tries all faults of tests/faults with the settings' own time-outs, in some
minutes, and writes the table into the page between its two marks. A fault that is not answered as it
should be leaves the page as it is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.settings_table import ROOT, with_table

PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- faults: made by python -m scripts.faults_table -->", "<!-- /faults -->"
# The test run writes what it saw into the file that this names, and takes the settings' own time-outs.
VARIABLE = "WEBCALL_FAULTS_TABLE"
HEAD = "| With | Fault | Answer | after at most | `/ready` | Left behind | Well again after |"


def make_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of what the suite saw, a row for each fault."""
    lines = [HEAD, "|---|---|---|---|---|---|---|"]
    for row in rows:
        left = (
            f"{_rooms(row['left'])}, deleted within {_seconds(row['left_s'])}" if row["left"] else "nothing"
        )
        cells = [row["where"], row["fault"], row["answer"], _seconds(row["seconds"]), row["ready"]]
        lines.append("| " + " | ".join([*cells, left, _seconds(row["recovered_s"])]) + " |")
    return "\n".join(lines)


def _rooms(count: int) -> str:
    return "1 room" if count == 1 else f"{count} rooms"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 0.1 else "0.1 s"


def main() -> int:
    """Try all faults, and write the table into the page; status 1 if one went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        seen = Path(folder) / "seen.json"
        command = [sys.executable, "-m", "pytest", "tests/faults/test_faults.py", "--quiet"]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, VARIABLE: str(seen)})
        if done.returncode:
            return 1
        rows = json.loads(seen.read_text("utf-8"))
    PAGE.write_text(with_table(PAGE.read_text("utf-8"), make_table(rows), BEGIN, END), "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
