"""What the servers that tests start on loopback have in common: they start, freeze and stop."""

from __future__ import annotations

import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import programs


class ServerProcess(ABC):
    """A server that tests may freeze, stop and start again, at the same address."""

    def __init__(self, folder: Path) -> None:
        """Take the folder in which it runs; what it writes goes into `log` there."""
        self._folder = folder
        self.log = folder / "output.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and return when it answers."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), cwd=self._folder, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            programs.wait_until(self._answers, self._process)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it; connections to it are then refused."""
        if self._process is not None:
            programs.stop(self._process)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it take connections and answer nothing, for as long as the block runs."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    @abstractmethod
    def _command(self) -> list[str]:
        """Return the command that starts it."""

    @abstractmethod
    def _answers(self) -> bool:
        """Return whether it answers by now."""
