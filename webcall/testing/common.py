"""What the two suites share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import NoReturn, TypeVar

import pytest

T = TypeVar("T")
Made = TypeVar("Made")

THREADS = 16
ROUNDS = 20

ODD_STRINGS = {
    "empty": "",
    "space": " ",
    "newline": "\n",
    "star": "*",
    "percent": "%",
    "dot": ".",
    "path": "../../etc/passwd",
    "slash": "a/b",
    "backslash": "a\\b",
    "query": '{"$ne": null}',
    "operator": "$where",
    "quote": "' OR '1'='1",
    "huge": "x" * 2_000_000,
    "non-ascii": "Schlüssel-ключ-鍵-🔑",
    "lone-surrogate": "key\udc80\ud800",
    "nul": "key\x00",
}
"""Strings that no record has, and that have broken look-ups elsewhere."""


def held(made: Made | None) -> Made:
    """Return what a factory made; skip the test if the backend cannot hold those records."""
    if made is None:
        pytest.skip("this backend cannot hold such records")
    return made


def read_only() -> NoReturn:
    """Skip a test of the management side."""
    pytest.skip("this backend is read-only")


def cannot_list() -> NoReturn:
    """Skip a test of the listing."""
    pytest.skip("this backend does not list")


def outage_of(ask: Callable[[], object]) -> Exception:
    """Return what a look-up raises whose infrastructure is down; fail if it answers instead."""
    try:
        answer = ask()
    except Exception as error:  # any exception is a backend's right
        return error
    pytest.fail(f"an outage was answered with {type(answer).__name__}, as if the backend had been asked")


def together(questions: Sequence[Callable[[], T]]) -> list[list[T]]:
    """Ask every question many times from many threads at once; return each thread's answers in order."""
    barrier = Barrier(THREADS)

    def work(first: int) -> list[T]:
        barrier.wait(timeout=30)
        turns = [(first + turn) % len(questions) for turn in range(ROUNDS)]
        answers = {turn: questions[turn]() for turn in turns}
        return [answers[turn] for turn in sorted(answers)]

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, range(THREADS)))
