"""What the scripts share that bring something to this machine: their folder, their log, their lines.

Standard library only: the package's build runs one of them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

TOOLS = Path(__file__).resolve().parent.parent / ".tools"


def say(line: str) -> None:
    """Tell whoever waits, on stderr: stdout is for the path of what was fetched."""
    print(line, file=sys.stderr, flush=True)


def succeeds(
    command: list[str], log: Path, folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> bool:
    """Run a command, its output into `log`; return whether it ended with status 0."""
    with log.open("ab") as output:
        try:
            done = subprocess.run(command, stdout=output, stderr=output, cwd=folder, env=environment)
        except OSError as error:
            output.write(f"{error.strerror}\n".encode())
            return False
    return done.returncode == 0


def tail(log: Path) -> str:
    """Return the last lines of a log, indented."""
    return "\n".join("    " + line for line in log.read_text("utf-8", "replace").splitlines()[-5:])


def listed(tried: list[str]) -> str:
    """Return what was tried, one a line."""
    return "\n".join(f"  - {line}" for line in tried)
