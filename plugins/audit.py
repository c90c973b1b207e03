"""Example of an observer: a line of JSON for each call, placed, refused or ended, in a file.

`WEBCALL_AUDIT_FILE` names the file. Add `plugins.audit` at the end of `plugins` in a copy of config.yaml:
docs/operating.md, "Audit". Several worker processes may append to one file: each line is written at once.
"""

from __future__ import annotations

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
    # Of one write below the size of a page, appending processes do not mix their lines.
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError as error:
        raise BackendError(f"WEBCALL_AUDIT_FILE cannot be written: {error.strerror}") from error
    try:
        os.write(descriptor, line.encode() + b"\n")
    finally:
        os.close(descriptor)
