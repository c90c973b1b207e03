"""What the worker takes from gunicorn beside its promises: a failing test tells that gunicorn has changed."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from gunicorn import util
from gunicorn.arbiter import Arbiter
from gunicorn.http import message, wsgi
from gunicorn.workers.gthread import PollableMethodQueue, TConn, ThreadWorker

from webcall.serving.connections import ConnectionWorker
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


# How gunicorn reads a request: PlainReader asks each, or it cannot matter to what that one takes.
SETTINGS_OF_READING = {
    "casefold_http_method",
    "forwarded_allow_ips",
    "forwarded_allow_networks",
    "forwarder_headers",
    "header_map",
    "is_ssl",
    "limit_request_field_size",
    "limit_request_fields",
    "limit_request_line",
    "permit_obsolete_folding",
    "permit_unconventional_http_method",
    "permit_unconventional_http_version",
    "proxy_allow_ips",
    "proxy_allow_networks",
    "proxy_protocol",
    "secure_scheme_headers",
    "strip_header_spaces",
    "workers",
}


def names_of_self(function: Callable[..., Any]) -> set[str]:
    return attributes_of("self", function) - {"cfg", "log"}


def attributes_of(name: str, *parts: Any) -> set[str]:
    """Return what code asks of a variable `name`, or of `self.name`."""
    trees = [ast.parse(textwrap.dedent(inspect.getsource(part))) for part in parts]
    return {
        node.attr
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in (name, f"self.{name}")
    }


def test_what_is_left_of_gthread_needs_no_more() -> None:
    """Methods of gthread that serve a request use of the worker what this one has, and nothing else."""
    assert {name: names_of_self(getattr(ThreadWorker, name)) for name in USED} == USED
    for name in USED:
        assert name not in vars(Worker) | vars(ConnectionWorker), f"{name} is this worker's own now"


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


def test_what_plain_requests_and_answers_use() -> None:
    """Reading and answering without gunicorn's parser uses these parts of it, and heeds its settings."""
    assert list(inspect.signature(message._ip_in_allow_list).parameters) == [
        "ip_str",
        "allow_list",
        "networks",
    ]
    assert list(inspect.signature(wsgi.base_environ).parameters) == ["cfg"]
    assert list(inspect.signature(wsgi.Response).parameters) == ["req", "sock", "cfg"]
    assert {"start_response", "write", "write_file", "close", "should_close"} <= vars(wsgi.Response).keys()
    assert all(hasattr(util, name) for name in ("http_date", "is_hoppish", "split_request_uri"))
    # What of a request an answer and an error page ask for.
    assert attributes_of("req", wsgi.Response) == {"method", "should_close", "version"}
    assert attributes_of("req", wsgi.default_environ) == {"body", "method", "query", "uri", "version"}
    read = attributes_of("cfg", message, wsgi.create, wsgi.default_environ, wsgi.base_environ)
    assert read == SETTINGS_OF_READING
