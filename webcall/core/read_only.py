"""What a command says of a backend that it cannot write to."""

from __future__ import annotations

from collections.abc import Sequence

from webcall.errors import WebCallError


def read_only(backend: str, what: str, able: Sequence[str]) -> WebCallError:
    """Return the error: where `what` is changed instead, and which backends in use can be written to."""
    others = f"; of those in use, {' and '.join(able)} can be written to" if able else ""
    return WebCallError(f"the backend '{backend}' is read-only: change the {what} where it is set{others}")
