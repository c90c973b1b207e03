"""The service's worker without its process, its threads and the service."""

from __future__ import annotations

import logging
import os
from typing import Any

from gunicorn.config import Config

from webcall.serving.worker import Worker


class Log(logging.Logger):
    """As much as a worker needs of gunicorn's."""

    def access(self, *_: Any) -> None:
        """Write nothing."""


def serving(app: Any) -> Worker:
    """Return a worker without threads that serves an application."""
    cfg = Config()
    cfg.set("keepalive", 75)
    cfg.set("worker_connections", 100)
    worker = Worker(1, os.getpid(), [], None, 30, cfg, Log("test"))
    worker.tmp.close()
    worker.wsgi = app
    return worker
