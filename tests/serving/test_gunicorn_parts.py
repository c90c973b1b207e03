"""What the worker takes from gunicorn beside its promises: a failing test tells that gunicorn has changed."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.workers.gthread import PollableMethodQueue, TConn, ThreadWorker

from webcall.serving.worker import Worker

# What gthread's own methods that are left as they are use of the worker, and thus need from it.
USED = {
    "handle": {"_keepalive_after", "handle_error", "handle_h2c_upgrade", "handle_http2", "handle_request"},
    "handle_request": {"alive", "keepalived_conns", "max_keepalived", "max_requests", "nr", "wsgi"},
    "_keepalive_after": set(),
    "init_process": {"get_thread_pool", "method_queue", "poller", "tpool"},
    "handle_exit": {"alive", "method_queue"},
    "handle_quit": {"tpool"},
    "set_accept_enabled": {"_accepting", "accept", "poller", "sockets"},
    "wait_for_and_dispatch_events": {"poller"},
    "is_parent_alive": {"ppid"},
}


def names_of_self(function: Callable[..., Any]) -> set[str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    } - {"cfg", "log"}


def test_what_is_left_of_gthread_needs_no_more() -> None:
    """Methods of gthread that serve a request use of the worker what this one has, and nothing else."""
    assert {name: names_of_self(getattr(ThreadWorker, name)) for name in USED} == USED
    for name in USED:
        assert name not in vars(Worker), f"{name} is this worker's own now"


def test_nobody_calls_what_was_replaced() -> None:
    """What this worker has replaced under other names is called by the replaced parts only."""
    replaced = {"finish_request", "enqueue_req", "murder_keepalived", "murder_pending", "_cap_keepalive"}
    for name in USED:
        assert not names_of_self(getattr(ThreadWorker, name)) & replaced
    assert names_of_self(ThreadWorker.run) >= {"murder_keepalived", "set_accept_enabled", "tpool"}


def test_connections_queue_and_master() -> None:
    """The connection, the queue of callbacks and the master have what the worker and gunicorn.conf.py use."""
    assert list(inspect.signature(TConn).parameters) == ["cfg", "sock", "client", "server"]
    assert {"data_ready", "initialized", "parser", "sock"} <= names_of_self(TConn.__init__)
    assert list(inspect.signature(PollableMethodQueue.defer).parameters) == ["self", "callback", "args"]
    assert {"fileno", "run_callbacks", "close"} <= vars(PollableMethodQueue).keys()
    assert {"LISTENERS", "systemd", "reexec_pid", "master_pid"} <= names_of_self(Arbiter.stop)
