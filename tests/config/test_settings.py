"""Types, defaults and bounds of the settings, and config.yaml as their documentation."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from marshmallow import Schema, fields

from webcall.config.schema import ConfigSchema
from webcall.config.settings import Config
from webcall.config.source import read
from webcall.plugin_manager import load_plugins
from webcall.rates import Rate, parse_rate

ROOT = Path(__file__).parents[2]
SECRET = "a secret of the tests, 32 bytes long"
LIVEKIT = {"api_key": "key-canary", "api_secret": SECRET}


def load(tree: dict[str, Any]) -> Config:
    reading = read({"livekit": LIVEKIT} | tree, {})
    assert reading.config is not None, reading.faults
    return reading.config


def faults(tree: dict[str, Any]) -> list[str]:
    return [str(fault) for fault in read({"livekit": LIVEKIT} | tree, {}).faults]


def test_defaults_of_the_file_are_those_of_the_schema() -> None:
    """config.yaml in a bare environment gives what an empty file gives."""
    environ = {"LIVEKIT_API_KEY": "key-canary", "LIVEKIT_API_SECRET": SECRET}
    written = read(ROOT / "config.yaml", environ)
    assert written.config is not None
    assert not written.unresolved
    assert dataclasses.replace(written.config, backends={}) == load({})
    plugins, _ = load_plugins(written.plugins)
    assert written.backends.keys() == plugins.backends.keys()
    for name in ("file", "mongo"):
        schema = plugins.backends[name].settings_schema
        assert schema is not None
        assert schema().load(written.backends[name]) == schema().load({})


def settings_of(schema: Schema, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in schema.fields.items():
        if isinstance(field, fields.Nested):
            yield from settings_of(field.schema, (*path, name))
        else:
            yield (*path, name)


def test_every_setting_stands_in_the_file() -> None:
    """config.yaml shows each setting of the schema and of the backends, and the schema describes each."""
    tree = yaml.safe_load((ROOT / "config.yaml").read_text())
    plugins, _ = load_plugins(tree["plugins"])
    paths = [*settings_of(ConfigSchema())]
    for name, backend in plugins.backends.items():
        paths += settings_of((backend.settings_schema or Schema)(), ("backends", name))
    for path in paths:
        place = tree
        for name in path:
            assert name in place, f"config.yaml lacks {'.'.join(path)}"
            place = place[name]
    schema = ConfigSchema()
    described = [field for field in schema.fields.values() if not isinstance(field, fields.Nested)]
    for section in schema.fields.values():
        if isinstance(section, fields.Nested):
            described += section.schema.fields.values()
    assert all(field.metadata.get("description") for field in described)


def test_text_becomes_the_type_that_is_due() -> None:
    """Numbers, truth and lists may be text, as the environment gives them."""
    config = load(
        {
            "livekit": LIVEKIT | {"timeout_s": "2.5"},
            "call": {"join_window_s": " 30 "},
            "http": {"docs": "false", "workers": "2"},
            "auth": {"validators": " mongo, file ,,env,mongo"},
            "assistants": {"stores": ["file"]},
        }
    )
    assert (config.livekit.timeout_s, config.call.join_window_s) == (2.5, 30)
    assert (config.http.docs, config.http.workers) == (False, 2)
    assert config.auth.validators == ("mongo", "file", "env")
    assert config.assistants.stores == ("file",)


@pytest.mark.parametrize("section", ["call", "auth", "assistants", "backends", "http", "log"])
def test_null_section_has_its_defaults(section: str) -> None:
    """A section whose lines are all commented out is as good as none."""
    assert load({section: None}) == load({})


WRONG = [
    ("livekit.api_secret", "short-canary", "32 bytes"),
    ("livekit.api_secret", SECRET + "\n", "white space"),
    ("livekit.api_secret", 12345678901234567890123456789012345, "quotes"),
    ("livekit.api_secret", "\udcff" * 40, "UTF-8"),
    ("livekit.api_secret", None, "no value"),
    ("livekit.api_key", "", "empty"),
    ("livekit.api_key", ["key-canary"], "not text"),
    ("livekit.previous_api_secret", "short-canary", "32 bytes"),
    ("livekit.previous_api_key", "canary\n", "white space"),
    ("livekit.url", "localhost:7880", "not an address"),
    ("livekit.url", "ftp://h", "not an address"),
    ("livekit.url", "ws://h:99999", "not an address"),
    ("livekit.url", "ws://h/a b", "not an address"),
    ("livekit.url", "ws://h\n", "not an address"),
    ("livekit.url", "ws://[canary", "not an address"),
    ("livekit.url", "wss://user:canary@h", "only scheme"),
    ("livekit.url", "", "not an address"),
    ("livekit.url", "wss://canary.b\u00fccher.example", "punycode"),
    ("livekit.url", "wss://h/canary-\u00fc", "punycode"),
    ("livekit.public_url", "h", "not an address"),
    ("livekit.timeout_s", "nan", "not a number"),
    ("livekit.timeout_s", "soon", "not a number"),
    ("livekit.timeout_s", True, "not a number"),
    ("livekit.timeout_s", 0, "from 0.1 to 60"),
    ("call.join_window_s", 1.5, "whole number"),
    ("call.join_window_s", "1e3", "whole number"),
    ("call.join_window_s", "9" * 5000, "whole number"),
    ("call.join_window_s", 0, "from 1 to"),
    ("call.max_duration_s", -1, "from 0 to"),
    ("call.max_duration_s", False, "whole number"),
    ("plugins", [], "names no plugin"),
    ("plugins", {"a": 1}, "not a list"),
    ("auth.validators", "", "names no backend"),
    ("auth.validators", {"env", "file"}, "not a list"),
    ("auth.validators", 5, "not a list"),
    ("http.docs", "maybe", "neither true nor false"),
    ("http.docs", [], "neither true nor false"),
    ("http.bind", "8000", "host:port"),
    ("http.bind", "127.0.0.1:99999", "host:port"),
    ("http.threads", 1, "from 4 to"),
    ("log.level", "loud", "not one of debug"),
    ("log.format", "xml", "not one of json"),
]


@pytest.mark.parametrize(("path", "value", "told"), WRONG)
def test_wrong_value_is_told_by_path_and_not_quoted(path: str, value: Any, told: str) -> None:
    """A bad value is one line: the setting's path and the fix, without the value."""
    section, _, name = path.partition(".")
    [fault] = faults({section: {**(LIVEKIT if section == "livekit" else {}), name: value} if name else value})
    assert fault.startswith(f"{path}: ")
    assert told in fault
    assert "canary" not in fault


@pytest.mark.parametrize(
    ("previous", "told"),
    [
        ({"previous_api_key": "old-canary"}, "livekit.previous_api_secret: is empty"),
        ({"previous_api_secret": SECRET}, "livekit.previous_api_key: is empty"),
        (
            {"previous_api_key": LIVEKIT["api_key"], "previous_api_secret": SECRET},
            "livekit.previous_api_key: is livekit.api_key",
        ),
    ],
)
def test_previous_pair(previous: dict[str, str], told: str) -> None:
    """The previous key and secret come together, and the key is another one."""
    [fault] = faults({"livekit": {**LIVEKIT, **previous}})
    assert fault.startswith(told)
    assert "canary" not in fault
    whole = {"previous_api_key": "old", "previous_api_secret": "o" * 40}
    livekit = load({"livekit": {**LIVEKIT, **whole}}).livekit
    assert livekit.secrets == (SECRET, "o" * 40)
    assert load({}).livekit.secrets == (SECRET,)


@pytest.mark.parametrize("value", ["127.0.0.1:8000", ":8000", "[::1]:0", "unix:/run/webcall.sock", "a:1,b:2"])
def test_address_that_gunicorn_takes_is_taken(value: str) -> None:
    """Addresses with a port, sockets, and several of them are good."""
    assert load({"http": {"bind": value}}).http.bind == value


@pytest.mark.parametrize("section", ["livekit", "call", "auth", "assistants", "backends", "http", "log"])
@pytest.mark.parametrize("value", [[], "canary", 1, True])
def test_section_of_another_type_is_refused(section: str, value: object) -> None:
    """Where a section is due, anything but a mapping or null is one fault."""
    [fault] = faults({section: value})
    assert re.match(rf"{section}: not a section", fault)


def test_item_of_a_list_is_told_by_its_position() -> None:
    """Of a list with wrong items, each is told by its position, and the good names are used."""
    reading = read({"livekit": LIVEKIT, "auth": {"validators": ["${GONE}", "env", 5, None, " "]}}, {})
    assert {fault.path for fault in reading.faults} == {f"auth.validators.{index}" for index in (0, 2, 3, 4)}
    assert reading.unresolved.keys() == {("auth", "validators", "0")}
    assert "env" in reading.validators


RATES = [("60/minute", Rate(60, 60)), (" 5 per 10 Minutes ", Rate(5, 600)), ("1/second", Rate(1, 1))]


@pytest.mark.parametrize(("written", "meant"), [*RATES, ("off", None), ("OFF", None), (False, None)])
def test_rates_are_read(written: Any, meant: Rate | None) -> None:
    """A rate may be written in words, and `off`, which YAML reads as false, is no limit."""
    config = read({"livekit": LIVEKIT, "limits": {"per_key": written}}, {}).config
    assert config is not None
    assert config.limits.per_key == meant


@pytest.mark.parametrize(
    "written",
    [
        *("", "60", "sixty/minute", "60/fortnight", "0/minute", "-1/minute", "1.5/minute", "1/0 minutes"),
        *("60/minute; 5/second", "9" * 9 + "/minute", "1 per 40 days", "6\u0660/minute", "60/minute\n5"),
        *(True, 60, ["60/minute"]),
    ],
)
def test_a_wrong_rate_is_told_with_a_right_one(written: Any) -> None:
    """What is no rate is refused at the start, and the line shows one that is."""
    [fault] = faults({"limits": {"per_key": written}})
    assert fault.startswith("limits.per_key: not ")
    assert "60/minute" in fault


def test_a_rate_reads_as_it_is_written() -> None:
    """The text of a rate is one that means it."""
    for rate in (Rate(60, 60), Rate(5, 600), Rate(7, 86400), Rate(2, 90)):
        assert parse_rate(str(rate)) == rate


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("*", ("*",)),
        (False, ()),
        ("off", ()),
        ("https://A.example:443, http://[::1]:8080", ("https://a.example", "http://[::1]:8080")),
        (["https://*.a.example"], ("https://*.a.example",)),
    ],
)
def test_cors_origins_are_read(written: Any, meant: tuple[str, ...]) -> None:
    """All origins, none, or some."""
    config = read({"livekit": LIVEKIT, "http": {"cors_origins": written}}, {}).config
    assert config is not None
    assert config.http.cors_origins == meant


@pytest.mark.parametrize(
    ("section", "name", "value", "shows"),
    [
        ("http", "cors_origins", "https://a.example/path", "https://shop.example.com"),
        ("http", "cors_origins", "a.example", "https://shop.example.com"),
        ("http", "cors_origins", "*,https://a.example", "alone"),
        ("http", "cors_origins", "https://a.example:99999", "https://shop.example.com"),
        ("http", "cors_origins", [], "https://shop.example.com"),
        ("http", "trusted_proxies", -1, "from 0 to 10"),
        ("http", "metrics_token", "with canary", "bearer token"),
        ("limits", "storage_uri", "redis-canary", "redis://127.0.0.1:6379/0"),
        ("limits", "storage_uri", "redis://:canary@host:x/0", "redis://127.0.0.1:6379/0"),
        ("limits", "storage_uri", "memcached://canary", "memory://"),
        ("limits", "storage_uri", "REDIS://canary", "redis://127.0.0.1:6379/0"),
        ("limits", "storage_uri", "redis://host/0?socket_timeout=canary", "option"),
    ],
)
def test_wrong_limits_and_doors_are_told(section: str, name: str, value: Any, shows: str) -> None:
    """What is wrong is told without its value, which may hold a password, and with what would be right."""
    [fault] = faults({section: {name: value}})
    assert fault.startswith(f"{section}.{name}: ")
    assert shows in fault
    assert "canary" not in fault


def test_unknown_setting_names_its_nearest_neighbour() -> None:
    """An unknown name is answered with the nearest known one and all that there are."""
    [fault] = faults({"call": {"join_windw_s": 5}})
    assert fault == (
        "call.join_windw_s: unknown setting; did you mean 'join_window_s'? "
        "(there are: departure_timeout_s, join_window_s, max_duration_s)"
    )
    odd = faults({1: 1, None: 2, ("a",): 3, "x\ny": 4, "z" * 10_000: 5})
    assert len(odd) == 5
    assert all(fault.isprintable() and len(fault) < 300 for fault in odd)


def test_addresses_for_browsers_and_for_the_service() -> None:
    """Browsers get ws(s) and the service http(s), whichever was written; public_url wins for browsers."""
    one = load({"livekit": LIVEKIT | {"url": "https://h:1/p"}}).livekit
    assert (one.http_url, one.server_url) == ("https://h:1/p", "wss://h:1/p")
    two = load({"livekit": LIVEKIT | {"url": "ws://h", "public_url": "HTTPS://pub"}}).livekit
    assert (two.http_url, two.server_url) == ("http://h", "wss://pub")


def test_config_is_frozen_and_its_repr_shows_no_secret() -> None:
    """No section can be changed, and printing the configuration gives nothing away."""
    config = load({"backends": {"mongo": {"uri": "mongodb://u:canary@h"}}})
    assert SECRET not in repr(config)
    assert "canary" not in repr(config)
    for part in (
        config,
        config.livekit,
        config.call,
        config.auth,
        config.assistants,
        config.http,
        config.log,
    ):
        name = dataclasses.fields(part)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(part, name, None)
