"""A person signs in at a real provider, and calls with what they got."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from flask import Flask

from tests.support.deployment import MakeApp, bearer, livekit_environment
from tests.support.livekit import LiveKitServer
from tests.support.oidc import Provider


@pytest.fixture
def signed_in_app(
    make_app: MakeApp, livekit_server: LiveKitServer, oidc_provider: Provider, tmp_path: Any
) -> Flask:
    """The service with that provider's logins as its only keys, and the user's assistant in a file."""
    assistants = tmp_path / "assistants.yaml"
    own = {"assistant_id": "helper", "assistant_created_by_email": oidc_provider.subject}
    assistants.write_text(yaml.safe_dump([own]), "utf-8")
    environment = {
        **livekit_environment(livekit_server),
        "WEBCALL_VALIDATORS": "jwt",
        "WEBCALL_STORES": "file",
        "WEBCALL_ASSISTANTS_FILE": str(assistants),
    }
    # The provider's id tokens have no e-mail address; its people own by their subject.
    logins = {
        "issuer": oidc_provider.issuer,
        "audience": oidc_provider.client,
        "claims": {"owner": "sub"},
    }
    return make_app(environment, backends={"jwt": logins}, limits={"per_key": "3/minute"})


def test_a_signed_in_person_calls(signed_in_app: Flask, oidc_provider: Provider) -> None:
    """The token of a whole login places a call; a new login is the same person for the limits."""
    client, first = signed_in_app.test_client(), oidc_provider.login()["id_token"]
    body = {"assistant_id": "helper"}
    header = {**bearer(first), "Idempotency-Key": "one call"}
    placed = client.post("/web_call/get_token", json=body, headers=header)
    assert placed.status_code == 200, placed.json
    second = oidc_provider.login()["id_token"]
    assert second != first
    again = client.post("/web_call/get_token", json=body, headers=header | bearer(second))
    assert again.json["data"]["room_name"] == placed.json["data"]["room_name"]
    assert client.get("/web_call/assistants", headers=bearer(second)).status_code == 200
    past = client.post("/web_call/get_token", json=body, headers=bearer(second))
    assert past.status_code == 429
    forged = first[:-4] + ("AAAA" if not first.endswith("AAAA") else "BBBB")
    assert client.post("/web_call/get_token", json=body, headers=bearer(forged)).status_code == 401
    assert client.get("/ready").status_code == 200
