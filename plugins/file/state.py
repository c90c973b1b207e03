"""What a file or folder serves, and what it was made of."""

from __future__ import annotations

from dataclasses import dataclass

from plugins.file.snapshot import Snapshot
from plugins.file.survey import Signature, Survey

SMALL_BYTES = 256 * 1024

Look = Signature | int | None
"""What one `stat` told: a signature, the `errno` of a refusal, or None where there is nothing."""


@dataclass(frozen=True, slots=True)
class State:
    """What is served and what it was made of; replaced as a whole, so that readers need no lock."""

    snapshot: Snapshot | None = None
    top: Look = None
    survey: Survey | None = None
    fault: str | None = None
    fault_of: Look = None
    retry_at: float | None = None
    loaded: bool = False

    @property
    def fix(self) -> str:
        """What an operator does about the fault; empty for one that may pass by itself."""
        if self.top is None:
            return "write the file, by hand or by a command that stores, or correct its path in backends.file"
        if isinstance(self.top, int):
            return "let the service's user read it, or correct its path in backends.file"
        return "" if self.retry_at else "correct it at that place; it is read again by itself"

    def is_small(self, top: Look) -> bool:
        """Return whether what now looks like `top` is loaded so soon that a request can wait for it."""
        if self.survey is not None and self.survey.is_folder:
            return self.survey.size <= SMALL_BYTES
        return not isinstance(top, tuple) or top[2] <= SMALL_BYTES
