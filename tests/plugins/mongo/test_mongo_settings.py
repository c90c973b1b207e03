"""The settings of the backend `mongo`: checked at start-up, without a connection and without a leak."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from marshmallow import ValidationError

from plugins.mongo.settings import MongoSettings

PASSWORD = "p4ssw0rd-canary"


def faults(settings: dict[str, Any]) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as caught:
        MongoSettings().load(settings)
    return caught.value.normalized_messages()


def test_settings_have_the_documented_defaults() -> None:
    """Without a setting the backend is MongoDB's own port on loopback, asked for two seconds."""
    assert MongoSettings().load({}) == {
        "uri": "mongodb://127.0.0.1:27017",
        "database": "webcall",
        "timeout_s": 2,
    }


@pytest.mark.parametrize(
    "uri",
    [
        "",
        f"http://user:{PASSWORD}@host/",
        "mongodb://",
        f"mongodb://user:{PASSWORD}/x@host:1/database",
        f"mongodb://user:{PASSWORD}@x@host",
        f"mongodb://user:{PASSWORD}@host:99999",
        f"mongodb://user:{PASSWORD}:{PASSWORD}@host",
        f"mongodb://user:{PASSWORD}%zz@host",
        f"mongodb://user:{PASSWORD}@[::1",
        f"mongodb://user:{PASSWORD}@a,b/?directConnection=true",
        f"mongodb://user:{PASSWORD}@host/?tlsCAFile=/does/not/exist",
        f"mongodb://user:1?{PASSWORD}=1@host",
        f"mongodb+srv://user:{PASSWORD}@host.example.com:27017",
    ],
)
def test_malformed_uri_is_a_fault_without_its_password(uri: str) -> None:
    """A URI that the driver cannot use is a fault that tells the fix and nothing of the password."""
    found = faults({"uri": uri})
    assert list(found) == ["uri"]
    assert "mongodb://user:password@host" in str(found) or "option" in str(found)
    assert PASSWORD not in str(found)


@pytest.mark.parametrize("option", ["retryWrite=false", "tls=maybe", "timeoutMS=soon"])
def test_option_that_the_driver_would_ignore_is_named(option: str) -> None:
    """A misspelt option or an unusable value is a fault that names the option."""
    found = faults({"uri": f"mongodb://user:{PASSWORD}@host/?appName=x&{option}"})
    assert f": {option.split('=')[0]}:" in found["uri"][0]
    assert PASSWORD not in str(found)


def test_srv_uri_asks_no_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address of MongoDB Atlas is checked without DNS, which may be down when the service starts."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a name was looked up")

    monkeypatch.setattr("dns.resolver.Resolver.resolve", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    uri = f"mongodb+srv://user:{PASSWORD}@cluster.example.com/?retryWrites=true"
    assert MongoSettings().load({"uri": uri})["uri"] == uri


@pytest.mark.parametrize(
    "settings",
    [
        {"timeout_s": 0},
        {"timeout_s": -1},
        {"timeout_s": "soon"},
        {"timeout_s": "inf"},
        {"database": ""},
        {"database": "a/b"},
        {"database": "a.b"},
        {"uris": ""},
    ],
)
def test_unusable_setting_is_a_fault(settings: dict[str, Any]) -> None:
    """A timeout that is no positive number of seconds, a bad name and an unknown setting are faults."""
    assert list(faults(settings)) == list(settings)
