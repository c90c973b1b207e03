"""Waits until what `make run` started answers, and says what it waits for."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence

from scripts.children import Child, Problem
from webcall.config.settings import Config

_SILENT_FOR_S = 2
_REGISTERED = b"worker registered"
# Nothing here leaves the machine, so no proxy of the environment may get between.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class NotReady(Problem):
    """What was started does not answer as it should. Says who."""


def wait_for(url: str, what: str, children: Sequence[Child], within_s: float) -> None:
    """Wait until `url` answers 200, and say after two seconds what is waited for.

    Raises `Problem` if a child ends and `NotReady` if the time is up.
    """
    began = time.monotonic()
    silent = True
    down: list[str] = []
    while (waited := time.monotonic() - began) < within_s:
        for child in children:
            child.check()
        if silent and waited > _SILENT_FOR_S:
            silent = False
            print(f"waiting for {what}: up to {within_s} s", file=sys.stderr, flush=True)
        try:
            # A hanging LiveKit holds the answer back, and the line above shall not wait for that.
            with _OPENER.open(url, timeout=_SILENT_FOR_S if silent else 10):
                return
        except urllib.error.HTTPError as error:
            down = _down(error.read(2000))
        except OSError:
            pass
        time.sleep(0.1)
    told = f" ({', '.join(down)})" if down else ""
    raise NotReady(f"not ready after {within_s} s{told}: {what}")


def _down(answer: bytes) -> list[str]:
    """Return the names that a 503 of /ready gives."""
    try:
        return [str(name) for name in json.loads(answer)["data"]["down"]]
    except (ValueError, LookupError, TypeError):
        return []


def wait_for_worker(config: Config, worker: Child, children: Sequence[Child], within_s: float) -> None:
    """Wait until the worker takes calls, and say after two seconds what is waited for.

    Raises `Problem` if a child ends or the time is up.
    """
    began = time.monotonic()
    silent = True
    while (waited := time.monotonic() - began) < within_s:
        for child in children:
            child.check()
        if _takes_calls(config, worker):
            return
        if silent and waited > _SILENT_FOR_S:
            silent = False
            told = f"waiting for the worker to register with LiveKit: up to {within_s} s"
            print(told, file=sys.stderr, flush=True)
        time.sleep(0.1)
    raise Problem(
        f"the worker has not registered after {within_s} s. The end of {worker.log}:\n" + worker.last_lines()
    )


def _takes_calls(config: Config, worker: Child) -> bool:
    settings = config.worker
    if settings.health_port:
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        try:
            with _OPENER.open(f"http://{host}:{settings.health_port}/", timeout=_SILENT_FOR_S):
                pass
        except OSError:
            return False
    # Its health is good before it has registered; the line about that is one of level info.
    shows = config.log.level in ("debug", "info")
    return not shows or _REGISTERED in worker.log.read_bytes()
