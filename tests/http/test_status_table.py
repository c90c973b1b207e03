"""The contract's status table, over HTTP, under gunicorn, with each backend, on the real LiveKit server."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from tests.support.deployment import (
    APP_KEY,
    BACKENDS,
    BOUND_KEY,
    EXPIRED_KEY,
    IDLE_KEY,
    KEY,
    LISTED_KEY,
    PAGE,
    PAGE_KEY,
    PLAIN_KEY,
    REVOKED_KEY,
    Service,
    bearer,
    livekit_environment,
    store_records,
)
from tests.support.http import CALL, JSON, Answer, send
from tests.support.livekit import LiveKitServer


@pytest.fixture(params=BACKENDS)
def service(
    request: pytest.FixtureRequest,
    livekit_server: LiveKitServer,
    tmp_path: Any,
    make_service: Callable[[Mapping[str, str]], Service],
) -> Iterator[Service]:
    """The sample deployment in one backend, under gunicorn."""
    records = store_records(request.param, tmp_path, request)
    return make_service(livekit_environment(livekit_server) | records)


def test_every_row(service: Service) -> None:
    """Each row that this version builds answers as the contract says, in the envelope."""
    good = bearer() | JSON
    helper = {"assistant_id": "helper"}
    unauthorized: list[dict[str, str]] = [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": KEY},
        bearer(KEY + "x"),
        bearer(KEY[:-1]),
        bearer(KEY.upper()),
        bearer(REVOKED_KEY),
        bearer(EXPIRED_KEY),
        bearer("lvk_" + "x" * 60_000),
        bearer("\u00ff\u00fe"),
    ]
    table: list[tuple[int, Any, Mapping[str, str]]] = [
        (200, helper, good),
        (200, helper, bearer(PLAIN_KEY) | JSON),
        (200, helper, {"Authorization": f"bEaReR  {KEY}"} | JSON),
        (200, helper | {"metadata": None, "text_only": True}, good),
        (200, {"assistant_id": "other"}, bearer(LISTED_KEY) | JSON),
        (200, json.dumps(helper).encode() + b" " * (65536 - 26), good),
        (400, {"assistant_id": "speaker", "text_only": True}, good),
        *((401, helper, headers | JSON) for headers in unauthorized),
        (401, b"{" * 70_000, JSON),
        (200, helper | {"metadata": {"customer": {}}}, bearer(PAGE_KEY) | JSON | {"Origin": PAGE}),
        (200, helper, bearer(APP_KEY) | JSON),
        (200, helper, bearer(BOUND_KEY) | JSON),
        (403, helper, bearer(PAGE_KEY) | JSON),
        (403, b"{", bearer(PAGE_KEY) | JSON | {"Origin": f"{PAGE}:8443"}),
        (403, helper, bearer(APP_KEY) | JSON | {"Origin": PAGE}),
        (403, helper, bearer(BOUND_KEY) | JSON | {"Origin": "null"}),
        (404, {"assistant_id": "other"}, bearer(PAGE_KEY) | JSON | {"Origin": PAGE}),
        (422, helper | {"metadata": {"plan": 1}}, bearer(PAGE_KEY) | JSON | {"Origin": PAGE}),
        (404, {"assistant_id": "nobody"}, good),
        (404, {"assistant_id": "resting"}, good),
        (404, {"assistant_id": "foreign"}, good),
        (404, helper, bearer(LISTED_KEY) | JSON),
        (404, {"assistant_id": "hel\u0000per"}, good),
        (413, b" " * 65537, good),
        (422, b"{", good),
        (422, b"", good),
        (422, helper, bearer()),
        (422, helper, bearer() | {"Content-Type": "text/plain"}),
        (422, {}, good),
        (422, helper | {"metdata": {}}, good),
        (422, helper | {"metadata": {"long": "x" * 17_000}}, good),
        (200, helper, good | {"Idempotency-Key": "of the status table"}),
        (200, helper, good | {"Idempotency-Key": "of the status table"}),
        (422, helper | {"text_only": True}, good | {"Idempotency-Key": "of the status table"}),
        (422, helper, good | {"Idempotency-Key": ""}),
        (422, helper, good | {"Idempotency-Key": "0" * 256}),
        (404, {"assistant_id": "nobody"}, bearer(IDLE_KEY) | JSON),
        (429, helper, bearer(IDLE_KEY) | JSON),
        (500, {"assistant_id": "broken"}, good),
    ]
    for status, body, headers in table:
        answer = send(service.port, body, headers)
        assert answer.status == status, (
            status,
            answer.status,
            answer.body,
            str(body)[:80],
            str(headers)[:80],
        )
        assert set(answer.json) == {"success", "message", "data"}
        assert answer.json["success"] is (status == 200)
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Request-ID"]
        assert answer.headers["WWW-Authenticate"] == ("Bearer" if status == 401 else None)
        assert bool(answer.json["data"].get("errors")) is (status == 422)
        assert ("Retry-After" in answer.headers) is (status == 429)


def test_the_four_kinds_of_404(service: Service) -> None:
    """Unknown, inactive, another owner's and outside the key's list differ in the request id alone."""
    kinds = [("nobody", KEY), ("resting", KEY), ("foreign", KEY), ("helper", LISTED_KEY)]
    answers = []
    for assistant_id, key in kinds:
        answer = send(service.port, {"assistant_id": assistant_id}, bearer(key) | JSON)
        request_id = answer.headers["X-Request-ID"]
        headers = {name: value for name, value in answer.headers.items() if name != "Date"}
        answers.append(json.dumps([answer.status, headers, answer.body.decode()]).replace(request_id, "ID"))
    assert answers[0].startswith("[404")
    assert len(set(answers)) == 1


def test_two_authorization_headers_are_malformed(service: Service) -> None:
    """A request that names two keys is answered as one with none."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    connection.putrequest("POST", CALL)
    for value in (f"Bearer {KEY}", f"Bearer {KEY}"):
        connection.putheader("Authorization", value)
    connection.putheader("Content-Length", "0")
    connection.endheaders()
    assert Answer(connection.getresponse()).status == 401
    connection.close()


def test_a_chunked_body_is_measured_too(service: Service) -> None:
    """Without a Content-Length the limit of 64 KiB holds all the same."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    connection.request("POST", CALL, iter([b" " * 1000] * 100), bearer() | JSON, encode_chunked=True)
    assert Answer(connection.getresponse()).status == 413
    connection.close()


@pytest.mark.parametrize("service", ["env"], indirect=True)
@pytest.mark.parametrize(
    ("header", "body"),
    [
        ("Transfer-Encoding: chunked", b"zz\r\n"),
        ("Transfer-Encoding: chunked", b"5\r\nab"),
        ("Content-Length: 300", b'{"assistant_id": "helper"}'),
    ],
)
def test_a_body_that_broke_off_places_no_call(service: Service, header: str, body: bytes) -> None:
    """A malformed or shortened body is the sender's 422, however good what arrived looks."""
    head = f"POST {CALL} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{header}\r\n"
    head += f"Authorization: {bearer()['Authorization']}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        connection.sendall(head.encode() + body)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(4096).startswith(b"HTTP/1.1 422")
