"""Changing a file under a store, and waiting for what a request does not wait for."""

from __future__ import annotations

import json
import time


def replace(path, records):
    """Put a whole new file in the place of the old one."""
    temporary = path.with_name(".next")
    temporary.write_text(json.dumps(records))
    temporary.replace(path)


def eventually(holds, timeout_s=30):
    """Ask until it holds: for changes that a request does not wait for."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)
