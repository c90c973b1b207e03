"""What the fixtures of real servers share: free ports, waiting, and what to do without a program."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from typing import NoReturn

import pytest

from scripts.servers import MissingServer
from scripts.servers import free_port as free_port


def without(program: str, reason: str) -> NoReturn:
    """Skip the test on a laptop, fail it in CI: there nothing may be missing."""
    message = f"{program} is missing: {reason}"
    if os.environ.get("CI"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def command(made: Callable[[], list[str]]) -> list[str]:
    """Return a server's command as `scripts.servers` makes it, or do without the program."""
    try:
        return made()
    except MissingServer as error:
        without(error.program, error.fix)


def wait_until(answers: Callable[[], bool], process: subprocess.Popen[bytes], timeout_s: float = 30) -> None:
    """Poll a starting server until it answers; fail at once if its process has ended."""
    deadline = time.monotonic() + timeout_s
    while not answers():
        if process.poll() is not None:
            pytest.fail(f"the server ended with status {process.returncode} before it answered")
        if time.monotonic() > deadline:
            pytest.fail(f"the server did not answer within {timeout_s:.0f} s")
        time.sleep(0.05)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server that a fixture started, by force if it does not listen."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
