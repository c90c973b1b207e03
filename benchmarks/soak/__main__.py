"""`make soak`: an hour of mixed load on the real programs, with faults by the way, and a verdict.

Environment: `WEBCALL_SOAK_S`, the length in seconds (3600); `WEBCALL_SOAK_RATE`, rounds of requests a second
(2); `WEBCALL_SOAK_PERSON_S`, a person joins a call so often (15; 0: nobody, and no worker);
`WEBCALL_SOAK_DISTURBED_S`, something happens so often (45; 0: nothing); `WEBCALL_SOAK_FOLDER`, where logs
and the verdict as JSON go (`instance/soak`); `WEBCALL_SOAK_NICE`, by how much everything is niced once it
stands (5). All ports are free ones of the loopback address.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import psutil

from benchmarks.soak.run import Plan, run
from benchmarks.soak.stage import staged


def be_nice(by: int) -> None:
    """Let whatever else this machine does come first, for this process and all that it has started."""
    this = psutil.Process()
    for process in (this, *this.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            process.nice(by)


def main() -> int:
    """Run, print the verdict, write it; 0 if the service has passed."""
    given = os.environ.get
    plan = Plan(
        whole_s=float(given("WEBCALL_SOAK_S") or 3600),
        rate=float(given("WEBCALL_SOAK_RATE") or 2),
        person_s=float(given("WEBCALL_SOAK_PERSON_S") or 15),
        disturbed_s=float(given("WEBCALL_SOAK_DISTURBED_S") or 45),
    )
    folder = Path(given("WEBCALL_SOAK_FOLDER") or "instance/soak").absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # Else what has been started would outlive this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with staged(folder, people=plan.person_s > 0) as stage:
        be_nice(int(given("WEBCALL_SOAK_NICE") or 5))
        verdict = asyncio.run(run(stage, plan))
    (folder / "verdict.json").write_text(json.dumps(verdict.as_json(), indent=1) + "\n")
    print(verdict.text())
    print(f"logs and verdict.json: {folder}")
    return 0 if verdict.passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
