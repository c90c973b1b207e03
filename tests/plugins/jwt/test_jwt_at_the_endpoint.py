"""What a token gets at the endpoints: a call, or a 401 that says nothing, or a 500 in an outage."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import yaml
from flask import Flask

from tests.support.deployment import MakeApp, Service, bearer, livekit_environment
from tests.support.livekit import LiveKitServer
from tests.support.oidc import ScriptedProvider
from tests.support.tokens import AUDIENCE, EMAIL, FORGED, NOT_OURS, OTHER, SUBJECT, token

CALL = {"assistant_id": "helper"}
NOWHERE = {"LIVEKIT_URL": "ws://127.0.0.1:9", "LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": "s" * 32}


@pytest.fixture
def environment(tmp_path: Any) -> Mapping[str, str]:
    """Logins and a key's record in the environment, asked in this order; Ada's assistant in a file."""
    assistants = tmp_path / "assistants.yaml"
    own = [{"assistant_id": name, "assistant_created_by_email": EMAIL} for name in ("helper", "other")]
    assistants.write_text(yaml.safe_dump(own), "utf-8")
    return {
        "WEBCALL_VALIDATORS": "jwt,env",
        "WEBCALL_API_KEY": "lvk_" + "s" * 43,
        "WEBCALL_OWNER": EMAIL,
        "WEBCALL_STORES": "file",
        "WEBCALL_ASSISTANTS_FILE": str(assistants),
        "WEBCALL_JWT_AUDIENCE": AUDIENCE,
        "WEBCALL_LIMIT_FAILED_AUTH": "off",
    }


@pytest.fixture
def app(make_app: MakeApp, environment: Mapping[str, str], provider: ScriptedProvider) -> Flask:
    """A service without LiveKit, configured by the environment alone."""
    return make_app({**environment, **NOWHERE, "WEBCALL_JWT_ISSUER": provider.issuer})


@pytest.fixture
def evil() -> Iterator[tuple[str, list[Any]]]:
    """An address that somebody writes into tokens, and who has come there."""
    visitors: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def listen() -> None:
            while True:
                try:
                    connection, address = listener.accept()
                except OSError:
                    return
                visitors.append(address)
                connection.close()

        thread = threading.Thread(target=listen)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/keys", visitors
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@pytest.mark.parametrize("name", [*FORGED, *NOT_OURS])
def test_a_forged_token_is_401(
    app: Flask,
    provider: ScriptedProvider,
    evil: tuple[str, list[Any]],
    name: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The same answer as for an unknown key, no request to an address in it, and none of it in the log."""
    address, visitors = evil
    forged = {**FORGED, **NOT_OURS}[name](provider.issuer, address)
    client = app.test_client()
    answers = [
        client.post("/web_call/get_token", json=CALL, headers={**bearer(sent), "X-Request-ID": "same"})
        for sent in (forged, "lvk_" + "u" * 43)
    ]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].data == answers[1].data
    assert visitors == []
    assert [
        path for path in provider.asked if path not in ("/keys", "/.well-known/openid-configuration")
    ] == []
    told = "".join(capfd.readouterr())
    assert not [part for part in forged.split(".") if len(part) > 8 and part in told]
    assert SUBJECT not in told


def test_a_good_token_and_a_key_are_taken_side_by_side(app: Flask, provider: ScriptedProvider) -> None:
    """A login lists what its owner may call, and so does a key, for which the provider is not asked."""
    client = app.test_client()
    for sent, asked in ((f"lvk_{'s' * 43}", 0), (token(provider.issuer), 2)):
        answer = client.get("/web_call/assistants", headers=bearer(sent))
        assert [one["assistant_id"] for one in answer.json["data"]["assistants"]] == ["helper", "other"]
        assert len(provider.asked) == asked


def test_an_outage_of_the_provider_is_no_401(app: Flask, provider: ScriptedProvider) -> None:
    """Without any keys a login is a 500, good or forged, and a key of this service works on."""
    provider.status = 503
    client = app.test_client()
    for sent in (token(provider.issuer), token(provider.issuer, OTHER)):
        assert client.get("/web_call/assistants", headers=bearer(sent)).status_code == 500
    assert client.get("/web_call/assistants", headers=bearer(f"lvk_{'s' * 43}")).status_code == 200
    ready = client.get("/ready")
    assert (ready.status_code, "jwt" in str(ready.json)) == (503, True)


def test_calls_at_once_are_counted_by_person(
    make_app: MakeApp,
    environment: Mapping[str, str],
    livekit_server: LiveKitServer,
    provider: ScriptedProvider,
) -> None:
    """A person has so many calls at once, whatever login they come with, and takes nobody else's."""
    logins = {"issuer": provider.issuer, "audience": AUDIENCE, "max_concurrent_calls": 1}
    app = make_app({**environment, **livekit_environment(livekit_server)}, backends={"jwt": logins})
    client = app.test_client()
    sent = [token(provider.issuer, jti=name, sub=sub) for name, sub in (("1", "a"), ("2", "a"), ("3", "b"))]
    answers = [client.post("/web_call/get_token", json=CALL, headers=bearer(one)) for one in sent]
    assert [answer.status_code for answer in answers] == [200, 429, 200]


@pytest.mark.parametrize("place", ["assistant_id", "X-Request-ID", "metadata"])
def test_a_token_in_the_wrong_place_is_not_logged(
    app: Flask, provider: ScriptedProvider, place: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whoever puts somebody's token where an id belongs finds none of it in the log, nor in the answer."""
    stray = token(provider.issuer, OTHER)[:100]
    body, headers = dict(CALL), bearer(token(provider.issuer))
    if place == "assistant_id":
        body["assistant_id"] = stray
    elif place == "metadata":
        body |= {stray: 1}  # type: ignore[dict-item]  # a field of that name
    else:
        headers["X-Request-ID"] = stray
    answer = app.test_client().post("/web_call/get_token", json=body, headers=headers)
    told = "".join(capfd.readouterr()) + answer.text + str(answer.headers)
    assert not [part for part in stray.split(".") if len(part) > 12 and part in told]


def test_a_login_calls_on_a_real_service(
    make_service: Callable[[Mapping[str, str]], Service],
    environment: Mapping[str, str],
    livekit_server: LiveKitServer,
    provider: ScriptedProvider,
) -> None:
    """Under gunicorn both ways into a call take a long login; one past all bounds is refused at once."""
    issuer = {"WEBCALL_JWT_ISSUER": provider.issuer, "WEBCALL_PLAYGROUND": "true"}
    service = make_service({**environment, **livekit_environment(livekit_server), **issuer})
    # As long as those of providers that list every group of a person.
    good = token(provider.issuer, groups=["group-of-a-large-company"] * 300)
    assert 8_190 < len(good) < 16_384
    source = {"room_config": {"agents": [{"agent_name": "helper"}]}}
    assert _post(service, "/web_call/get_token", good, CALL)[0] == 200
    assert _post(service, "/web_call/token_source", good, source)[0] == 201
    for size, statuses in ((40_000, {401}), (1_000_000, {400, 431})):
        status, told = _post(service, "/web_call/get_token", token(provider.issuer, filling="x" * size), CALL)
        assert status in statuses
        assert told
    assert "eyJ" not in service.log.read_text()


def _post(service: Service, path: str, sent: str, body: Any) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
    try:
        headers = {**bearer(sent), "Content-Type": "application/json", "Origin": "https://app.example"}
        try:
            connection.request("POST", path, json.dumps(body), headers)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before all of it was sent: the answer is there
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
