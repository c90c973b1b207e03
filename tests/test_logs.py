"""What is written to the log, in both forms, by the service and by other packages, and what never is."""

from __future__ import annotations

import asyncio
import json
import logging
import logging.config
import re
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from tests.support.deployment import API_KEYS, ASSISTANTS, MakeApp, bearer
from webcall import logs, request_log
from webcall.config.settings import LogConfig

CANARY = "canary-1234567890"


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Give the levels and handlers that a test sets up back."""
    root = logging.getLogger()
    names = [*logs.OWN, *logs.DRIVERS]
    levels = {name: logging.getLogger(name).level for name in names}
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def written(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return what was logged, each line read as JSON."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def fail() -> None:
    try:
        raise KeyError(CANARY)
    except KeyError as error:
        raise ValueError(f"not {CANARY}") from error


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Every record is one line of JSON, whatever is in it, with time, level, logger and event."""
    logs.configure(LogConfig("info", "json"))
    structlog.stdlib.get_logger("webcall.x").info("odd", text='a\nb"\u2028\udc80\x00', thing=object(), n=1)
    logging.getLogger("plugins.x").warning("two\nlines of %s", "mine")
    own, other = written(capsys)
    assert (own["event"], own["level"], own["logger"], own["n"]) == ("odd", "info", "webcall.x", 1)
    assert own["text"] == 'a\nb"\u2028\udc80\x00'
    assert own["timestamp"].endswith("Z")
    assert (other["event"], other["level"]) == ("two\nlines of mine", "warning")


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_requests_own_line_is_as_structlog_writes_it(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`tell` writes what structlog's logger would, with the request's fields, and at its level."""
    logs.configure(LogConfig("info", form))
    fields: dict[str, Any] = {"route": "/web_call/get_token", "status": 200, "ms": 1.25, "odd": "é"}
    request_log.begin(request_id="r1")
    request_log.add(owner="ada@example.com")
    try:
        request_log.tell(logging.getLogger("webcall.request"), "request", **fields)
        structlog.stdlib.get_logger("webcall.request").info("request", **fields)
    finally:
        request_log.end()
    request_log.tell(logging.getLogger("webcall.request"), "later")
    told, structlogs, later = capsys.readouterr().err.splitlines()
    moment = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
    assert moment.sub("", told) == moment.sub("", structlogs)
    assert moment.search(told)
    assert "r1" in told
    assert "ada@example.com" in told
    assert "r1" not in later
    logging.getLogger("webcall").setLevel("WARNING")
    request_log.tell(logging.getLogger("webcall.request"), "request")
    assert not capsys.readouterr().err


def test_what_a_plugin_binds_goes_with_its_request(capsys: pytest.CaptureFixture[str]) -> None:
    """It stands in that request's own line, and in none of the next one's."""
    logs.configure(LogConfig("info", "json"))
    for number in range(2):
        request_log.begin(request_id=f"r{number}")
        if not number:
            structlog.contextvars.bind_contextvars(tenant="one")
        request_log.tell(logging.getLogger("webcall.request"), "request")
        request_log.end()
        structlog.stdlib.get_logger("webcall.x").info("between")
    assert [(line["event"], line.get("tenant")) for line in written(capsys)] == [
        ("request", "one"),
        ("between", None),
        ("request", None),
        ("between", None),
    ]


def test_console_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """The other form is a line without escape codes; an exception stays in the line."""
    logs.configure(LogConfig("info", "console"))
    log = structlog.stdlib.get_logger("webcall.x")
    log.info("hello", owner="ada")
    try:
        fail()
    except ValueError:
        log.exception("oh")
    hello, oh = capsys.readouterr().err.splitlines()
    assert "hello" in hello
    assert "owner=ada" in hello
    assert "ValueError from KeyError" in oh
    assert "test_logs.py" in oh
    assert "\x1b" not in hello + oh
    assert CANARY not in oh


@pytest.mark.parametrize(
    ("level", "own", "others"),
    [
        ("debug", {"debug", "info", "warning", "error"}, {"warning", "error"}),
        ("info", {"info", "warning", "error"}, {"warning", "error"}),
        ("warning", {"warning", "error"}, {"warning", "error"}),
        ("error", {"error"}, {"error"}),
    ],
)
def test_level_is_for_the_services_own_lines(
    capsys: pytest.CaptureFixture[str], level: str, own: set[str], others: set[str]
) -> None:
    """log.level is for the service's own lines, for gunicorn's from info up; others stay at warnings."""
    # As a driver that sets a level of its own.
    logging.getLogger("livekit.agents").setLevel(logging.DEBUG)
    logs.configure(LogConfig(level, "json"))
    names = (
        "webcall.a",
        "plugins.b",
        "gunicorn.error",
        "pymongo.command",
        "livekit.agents",
        "aiohttp.client",
        "acme",
    )
    for name in names:
        for method in ("debug", "info", "warning", "error"):
            getattr(logging.getLogger(name), method)("line")
    lines = written(capsys)
    for name in names:
        expected = own - {"debug"} if name == logs.SERVER else own if name in names[:2] else others
        assert {line["level"] for line in lines if line["logger"] == name} == expected


def test_livekit_agents_lines_lose_what_they_were_filled_with(capsys: pytest.CaptureFixture[str]) -> None:
    """Of livekit-agents' lines nothing is written that stands behind a colon or in quotes."""
    logs.configure(LogConfig("info", "json"))
    agents = logging.getLogger("livekit.agents")
    agents.error(f"AgentSession is closing due to unrecoverable error: {CANARY}")
    agents.warning(f"unknown AI function `{CANARY}`", exc_info=ValueError(CANARY))
    logging.getLogger("livekit.plugins.acme").error(f"Speaker '{CANARY}' is not compatible")
    logging.getLogger("livekit").error("%s:%s - %s", CANARY, 5, CANARY)
    assert [line["event"] for line in written(capsys)] == [
        "AgentSession is closing due to unrecoverable error",
        "unknown AI function …",
        "Speaker … is not compatible",
    ]


def test_exception_is_types_and_places(capsys: pytest.CaptureFixture[str]) -> None:
    """Of an exception, types and places are written, and its text nowhere, whoever logs it and how."""
    logs.configure(LogConfig("info", "json"))
    for name in ("webcall.x", "acme.x", "gunicorn.error"):
        foreign = logging.getLogger(name)
        try:
            fail()
        except ValueError as error:
            structlog.stdlib.get_logger(name).exception("own")
            foreign.exception("constant", stack_info=True)
            foreign.exception("for %s: %s", CANARY, error)
            foreign.exception("for %(key)s", {"key": CANARY})
            foreign.exception(f"failed: {error}")
            foreign.exception(error)
            foreign.error("info", exc_info=error)
    lines = written(capsys)
    assert len(lines) == 21
    for line in lines:
        assert line["exception"] == ["ValueError", "KeyError"]
        assert line["at"][-1].endswith(" fail")
    assert CANARY not in json.dumps(lines)
    events = [line["event"] for line in lines[:7]]
    assert events == ["own", "constant", "for …: …", "for …", "failed: ValueError", "ValueError", "info"]


def test_other_packages_lines_keep_numbers_only(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a line of another package, the text of its source and numbers are written; arguments are not."""
    logs.configure(LogConfig("debug", "json"))
    foreign = logging.getLogger("pymongo.connection")
    foreign.warning("%s failed after %d tries, %.1f s: %r", CANARY, 3, 0.25, {"key": CANARY})
    foreign.warning("wrong %d", CANARY)
    foreign.warning("too few %s %s", CANARY)
    foreign.warning("100% of nothing")
    foreign.warning(f"first line\n{CANARY}")
    foreign.warning({"key": CANARY})
    lines = written(capsys)
    assert [line["event"] for line in lines] == [
        "… failed after 3 tries, 0.2 s: '…'",
        "wrong %d",
        "too few %s %s",
        "100% of nothing",
        "first line",
        "dict",
    ]
    logging.getLogger("gunicorn.error").info("Listening at: %s (%s)", "http://127.0.0.1:1", 5)
    assert written(capsys)[0]["event"] == "Listening at: http://127.0.0.1:1 (5)"


def test_failed_task_of_asyncio_is_not_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    """The task and the exception that asyncio quotes in its message do not get into the log."""
    logs.configure(LogConfig("debug", "json"))
    loop = asyncio.new_event_loop()
    future = loop.create_future()
    future.set_exception(ValueError(CANARY))
    del future
    loop.close()
    [line] = written(capsys)
    assert line["event"] == "Future exception was never retrieved"
    assert CANARY not in json.dumps(line)


def test_line_that_cannot_be_written_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """A record that breaks the formatter is told of in one line, without its arguments and its traceback."""
    logs.configure(LogConfig("info", "json"))
    endless: list[Any] = [CANARY]
    endless.append(endless)
    structlog.stdlib.get_logger("webcall.x").info("endless", endless=endless)
    [line] = written(capsys)
    assert (line["event"], line["logger"]) == ("a log line could not be written", "webcall.x")
    assert CANARY not in json.dumps(line)


def test_chain_of_exceptions_without_end_is_cut() -> None:
    """A chain that bites its tail, or never ends, is described in a few types."""
    one, two = ValueError(), KeyError()
    one.__cause__, two.__cause__ = two, one
    assert logs.describe(one) == {"exception": ["ValueError", "KeyError"], "at": []}
    last: Exception = ValueError()
    for _ in range(1000):
        outer = ValueError()
        outer.__context__ = last
        last = outer
    assert len(logs.describe(last)["exception"]) == 10


def test_every_line_of_a_request_has_its_id(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the service, a driver or a plugin logs during a request bears its id, and nothing after it."""
    environment = {
        "LIVEKIT_URL": "ws://127.0.0.1:9",
        "LIVEKIT_API_KEY": "key",
        "LIVEKIT_API_SECRET": "s" * 40,
        "WEBCALL_VALIDATORS": "env",
        "WEBCALL_STORES": "env",
        "WEBCALL_API_KEYS": json.dumps(API_KEYS),
        "WEBCALL_ASSISTANTS": json.dumps(ASSISTANTS),
    }
    client = make_app(environment).test_client()
    monkeypatch.setattr("plugins.env.lookups.assistant_for", _speaking_look_up)
    for request_id in ("one", "two"):
        headers = bearer() | {"X-Request-ID": request_id}
        answer = client.post("/web_call/get_token", json={"assistant_id": "helper"}, headers=headers)
        assert answer.status_code == 500
        lines = written(capsys)
        assert {"driver", "plugin", "livekit failed", "request"} <= {line["event"] for line in lines}
        assert {line.get("request_id") for line in lines} == {request_id}
    logging.getLogger("pymongo").warning("after")
    assert "request_id" not in written(capsys)[0]


def _speaking_look_up(caller: Any, record: Any) -> Any:
    from webcall.records import assistant_for

    logging.getLogger("pymongo").warning("driver")
    structlog.stdlib.get_logger("plugins.env").info("plugin")
    return assistant_for(caller, record)


def test_dict_config_is_all_that_gunicorn_needs(capsys: pytest.CaptureFixture[str]) -> None:
    """The mapping alone, which gunicorn takes before the application is there, gives the same lines."""
    logging.config.dictConfig(logs.dict_config(LogConfig("info", "json")))
    logging.getLogger("gunicorn.error").info("Booting worker with pid: %s", 5)
    [line] = written(capsys)
    assert (line["event"], line["logger"]) == ("Booting worker with pid: 5", "gunicorn.error")
