"""Example of an observer: a line of JSON for each call, placed, refused or ended, in a file.

`WEBCALL_AUDIT_FILE` names the file. Add `plugins.audit` at the end of `plugins` in a copy of config.yaml:
docs/operating.md, "Audit". Several worker processes may append to one file: each line is whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from dataclasses import asdict
from datetime import datetime

from webcall import BackendError, CreatedCall, EndedCall, RefusedCall, hookimpl


@hookimpl
def webcall_call_created(call: CreatedCall) -> None:
    """Append a call that was placed."""
    _append("created", call)


@hookimpl
def webcall_call_refused(call: RefusedCall) -> None:
    """Append a request that got no call."""
    _append("refused", call)


@hookimpl
def webcall_call_ended(call: EndedCall) -> None:
    """Append a call that is over."""
    _append("ended", call)


def _append(event: str, call: CreatedCall | RefusedCall | EndedCall) -> None:
    path = os.environ.get("WEBCALL_AUDIT_FILE")
    if not path:
        raise BackendError("WEBCALL_AUDIT_FILE names no file")
    line = json.dumps({"event": event, **asdict(call)}, ensure_ascii=False, default=datetime.isoformat)
    try:
        _write(path, line.encode() + b"\n")
    except OSError as error:
        raise BackendError(f"WEBCALL_AUDIT_FILE cannot be written: {error.strerror}") from error


def _write(path: str, line: bytes) -> None:
    """Append a line, all of it or nothing: half a one would spoil the next one too. Raises `OSError`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        # Until it is closed: other worker processes append as well.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = os.fstat(descriptor).st_size
        try:
            # A disk that is nearly full takes a part, and says so at the next write alone.
            while line:
                line = line[os.write(descriptor, line) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)
