"""What request threads hand to an event loop."""

from __future__ import annotations

from typing import Any

import structlog

from webcall.loop_thread import LoopThread


def test_nothing_of_a_request_goes_along() -> None:
    """What is logged on the loop says nothing of the request in which it was begun."""

    async def seen() -> dict[str, Any]:
        return structlog.contextvars.get_contextvars()

    loop = LoopThread("test")
    try:
        with structlog.contextvars.bound_contextvars(owner="ada@example.com"):
            assert loop.submit(seen()).result(10) == {}
    finally:
        loop.close()
