"""`make prove`: what the service promises, tried on the real programs, as a table.

`python -m benchmarks.prove --write` puts the rows into the README; names of promises' functions choose
some of them: `python -m benchmarks.prove one_request_a_call`. `WEBCALL_PROVE_CALLS`: how many people join
while workers are killed (40).
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.prove.promise import Promise, Tried
from benchmarks.prove.promises import PROMISES
from benchmarks.prove.table import README, make_table, shown, with_promises


def main() -> int:
    """Try each, print the table; 0 if all were kept."""
    options = argparse.ArgumentParser(description="Tries what the service promises.")
    options.add_argument("--write", action="store_true", help="put the table into the README")
    options.add_argument("names", nargs="*", help="functions that try a promise; none: all")
    given = options.parse_args()
    # Else what has been started would outlive this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    chosen = [one for one in PROMISES if not given.names or one.tries.__name__ in given.names]
    found: list[tuple[Promise, Tried]] = []
    for promise in chosen:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="webcall-prove-") as folder:
            found.append((promise, promise.tries(Path(folder))))
        print(f"{time.monotonic() - began:6.0f} s  {promise.words}: {found[-1][1].result}", flush=True)
    today = datetime.now(UTC).date()
    print(f"\n{make_table(found, today)}")
    if given.write:
        page = README.read_text("utf-8")
        README.write_text(with_promises(page, make_table(found, today, shown(page))), "utf-8")
    return 0 if all(tried.kept for _, tried in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
