"""Bring a program in Go to this machine that only tests need, built once."""

from __future__ import annotations

import fcntl
from dataclasses import dataclass
from pathlib import Path

from scripts.fetching import TOOLS, say
from scripts.livekit_server import NoLiveKitServer, go_install


class NoProgram(Exception):
    """The program is not on this machine and could not be built. Says what was tried."""


@dataclass(frozen=True, slots=True)
class GoProgram:
    """A program: its name in `.tools/bin`, the package that `go install` takes, its version, what it is."""

    name: str
    package: str
    version: str
    what: str

    def ensure(self, tools: Path = TOOLS) -> Path:
        """Return its path, built into `tools` by an earlier call or now. Raises `NoProgram`."""
        # By version: another one is built beside it.
        program = tools / "bin" / f"{self.name}-{self.version}"
        tools.mkdir(parents=True, exist_ok=True)
        with (tools / f"{self.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if program.exists():
                return program
            log, tried = tools / f"{self.name}.log", list[str]()
            say(f"building {self.what}, for the tests: a minute, once")
            try:
                source = f"{self.package}@v{self.version}"
                if go_install(source, program, tools / f"build-{self.name}", log, tried):
                    return program
            except NoLiveKitServer:
                pass  # no Go, and none from PyPI: `tried` says so
        raise NoProgram("; ".join(tried))

    def main(self) -> int:
        """Print its path, or what was tried.

        The status is 0 all the same: the tests that need it are skipped, or fail where CI is set.
        """
        try:
            print(self.ensure())
        except NoProgram as error:
            say(f"no {self.what.partition(' ')[2]}. Tried: {error}")
        return 0
