"""What the start finds before anything is connected."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from webcall.config.schema import ConfigSchema
from webcall.errors import ConfigError
from webcall.startup import Setup, prepare

SECRET = "a secret of the tests, 32 bytes long"
GOOD: dict[str, Any] = {"livekit": {"api_key": "key", "api_secret": SECRET}}

ACME = """
from marshmallow import Schema, ValidationError, fields, post_load
from webcall import Backend, hookimpl

class Settings(Schema):
    uri = fields.String(required=True)
    size = fields.Integer(load_default=1, data_key="max-size")
    @post_load
    def make(self, data, **_):
        if data["uri"] == "break":
            raise RuntimeError("canary")
        if data["uri"] == "refuse":
            raise ValidationError("not today")
        return object() if data["uri"] == "object" else data

def factory(settings):
    raise AssertionError("made before its time")

@hookimpl
def webcall_key_validators():
    return [Backend("acme", "of the tests", Settings, factory)]
"""


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin whose backend `acme` knows keys only, and may never be made."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "acme_plugin", raising=False)
    (tmp_path / "acme_plugin.py").write_text(ACME)


def start(changes: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Setup:
    return prepare({**GOOD, **changes}, environ or {})


def faults(changes: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        start(changes, environ)
    return list(caught.value.faults)


def use_acme(settings: Any) -> dict[str, Any]:
    return {
        "plugins": ["plugins.env", "acme_plugin"],
        "auth": {"validators": "acme,env"},
        "assistants": {"stores": "env"},
        "backends": {"acme": settings},
    }


@pytest.mark.usefixtures("acme")
def test_backends_are_asked_in_the_order_of_the_config() -> None:
    """The order is that of the setting, whatever order plugins are named or registered in."""
    changes = use_acme({"uri": "${ACME}", "max-size": "5"})
    for validators in ("acme,env", "env,acme"):
        for plugins in (["plugins.env", "acme_plugin"], ["acme_plugin", "plugins.env"]):
            setup = start(changes | {"auth": {"validators": validators}, "plugins": plugins}, {"ACME": "u"})
            assert ",".join(chosen.backend.name for chosen in setup.validators) == validators
            assert [chosen.backend.name for chosen in setup.stores] == ["env"]
            assert setup.settings["acme"] == {"uri": "u", "size": 5}


@pytest.mark.usefixtures("acme")
def test_unused_backend_needs_no_environment() -> None:
    """Of a backend that is not in use neither values nor references matter, and its names still do."""
    idle = use_acme({"uri": "${ACME}", "max-size": "many"}) | {"auth": {"validators": "env"}}
    assert "acme" not in start(idle).settings
    [fault] = faults(idle | {"backends": {"acme": {"uri": "${ACME}", "urii": "${ACME}"}}})
    assert fault.startswith(
        "backends.acme.urii: unknown setting; did you mean 'uri'? (there are: cache_s, "
        "cache_size, max-size, negative_cache_s, stale_if_error_s, uri)"
    )


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"uri": "${ACME}"}, "backends.acme.uri: the environment variable ACME is not set"),
        (None, "backends.acme.uri: missing"),
        ("${ACME}", "backends.acme: the environment variable ACME is not set"),
        ([], "backends.acme: not a section"),
        ({"uri": "u", "max-size": []}, "backends.acme.max-size: not a whole number"),
        ({"uri": "u", 5: 1}, "backends.acme.5: unknown setting"),
        ({"uri": "refuse"}, "backends.acme: not today"),
        ({"uri": "break"}, "backends.acme: the plugin failed to check these settings: RuntimeError ("),
        ({"uri": "object"}, "backends.acme: the plugin's settings_schema loads object, not a dict"),
    ],
)
def test_fault_in_a_backends_settings_is_one_line(settings: object, told: str) -> None:
    """Wrong settings of a backend in use are one line with their path, even if its plugin breaks on them."""
    told_first, *others = faults(use_acme(settings))
    assert told_first.startswith(told)
    # A section that is no section has its required settings missing, too.
    assert all(line == "backends.acme.uri: missing" for line in others)
    assert "canary" not in told_first


@pytest.mark.usefixtures("acme")
def test_unknown_backends_are_each_told() -> None:
    """Every unknown backend has a line with the nearest one of its side and those that exist."""
    changes = use_acme({"uri": "u"}) | {
        "auth": {"validators": "evn,acne"},
        "assistants": {"stores": ["acme"]},
        "backends": {"acm": {"uri": "${ACME}"}},
    }
    assert faults(changes) == [
        "auth.validators: no plugin offers a backend 'evn'; did you mean 'env'? (there are: acme, env)",
        "auth.validators: no plugin offers a backend 'acne'; did you mean 'acme'? (there are: acme, env)",
        "assistants.stores: the backend 'acme' knows no assistants; did you mean 'env'? (there are: env)",
        "backends.acm: no plugin offers this backend; did you mean 'acme'? (there are: acme, env)",
        "backends.acme.uri: missing",
    ]


def test_missing_plugin_is_not_blamed_on_its_backend() -> None:
    """Where a plugin cannot be loaded, its backend is not called unknown as well."""
    changes = {
        "plugins": "plugins.env,no_such",
        "auth": {"validators": "other"},
        "assistants": {"stores": "env"},
        "backends": {"other": {"uri": "${GONE}"}},
    }
    lines = faults(changes | {"auth": {"validators": "env"}})
    assert [line.partition(":")[0] for line in lines] == ["plugins"]
    assert lines == faults({**changes, "auth": {"validators": "env"}, "backends": None})


def test_every_fault_is_told_at_once() -> None:
    """Faults of every section, of plugins, of the environment and of backends come together, a line each."""
    lines = faults(
        {
            "livekit": {"url": "nowhere", "api_key": "${GONE_KEY}", "api_secret": "short-canary"},
            "call": {"join_window_s": "soon", "max_durations": 5},
            "auth": {"validators": ["mongo"], "order": 1},
            "limits": {"per_key": "${GONE_LIMIT}"},
            "http": {"metrics_token": "${GONE_TOKEN}"},
            "plugins": [
                "plugins.env",
                "plugins.file",
                "plugins.mongo",
                "plugins.sql",
                "plugins.jwt",
                "plugins.http",
                "no_such",
            ],
            "backends": {
                "mongo": {"uri": "${GONE_URI}", "timeout_s": "canary"},
                "file": {"api_key": "canary"},
            },
        }
    )
    assert sorted(line.partition(": ")[0] for line in lines) == [
        "auth.order",
        "backends.file.api_key",
        "backends.mongo.timeout_s",
        "backends.mongo.uri",
        "call.join_window_s",
        "call.max_durations",
        "http.metrics_token",
        "limits.per_key",
        "livekit.api_key",
        "livekit.api_secret",
        "livekit.url",
        "plugins",
    ]
    text = "\n".join(lines)
    assert "canary" not in text
    assert "GONE_KEY" in text
    assert "GONE_URI" in text
    assert "GONE_LIMIT" in text
    assert "GONE_TOKEN" in text


def test_a_value_of_the_environment_is_told_by_its_variable(acme: None, tmp_path: Path) -> None:
    """A fault names the variables that its value is made of, or names by _FILE, and no others."""
    file = tmp_path / "level"
    file.write_text("loud")
    changes = {
        "call": {"join_window_s": "${WINDOW:-60}", "max_duration_s": "${LONGEST:-long}"},
        "log": {"level": "${LEVEL:-info}"},
        "http": {"cors_origins": ["${HOST:-http://a}:${PORT:-1}/x"]},
        "unknown": "${PORT}",
        **use_acme({"uri": "x", "max-size": "${SETTINGS}"}),
    }
    environ = {
        "WINDOW": "CANARY",
        "LEVEL_FILE": str(file),
        "PORT": "CANARY",
        "LONGEST": "",
        "SETTINGS": "CANARY",
    }
    told = dict(line.split(": ", 1) for line in faults(changes, environ))
    assert "CANARY" not in str(told)
    ends = {path: line.partition(" (its value is that of ")[2] for path, line in told.items()}
    assert ends == {
        "call.join_window_s": "WINDOW)",
        "call.max_duration_s": "",
        "log.level": "LEVEL_FILE)",
        "http.cors_origins": "PORT)",
        "unknown": "",
        "backends.acme.max-size": "SETTINGS)",
    }


def test_section_from_an_empty_environment_is_one_fault() -> None:
    """A reference in a section's place is told once, not with everything that is missing for it."""
    assert faults({"livekit": "${GONE}"}) == ["livekit: the environment variable GONE is not set"]


@pytest.mark.usefixtures("acme")
def test_repr_shows_no_settings_of_backends() -> None:
    """Printing what was prepared gives no secret away."""
    setup = start(use_acme({"uri": "canary"}))
    assert setup.settings["acme"]["uri"] == "canary"
    assert "canary" not in repr(setup)
    assert SECRET not in repr(setup)


NAMES = st.sampled_from(
    [
        *ConfigSchema().fields,
        "api_key",
        "api_secret",
        "validators",
        "stores",
        "env",
        "mongo",
        "uri",
        "limits",
        "docs",
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.dates()
    | st.binary(max_size=5)
    | st.sampled_from(["env", "file,mongo", "${GONE}", "${SET}", "${", "$$", SECRET, ""])
    | st.text(st.characters(codec=None), max_size=8)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(NAMES | st.integers() | st.none() | st.text(max_size=4), inner, max_size=5)
    ),
    max_leaves=20,
)


def lines_about(tree: dict[str, Any]) -> list[str] | None:
    try:
        prepare(tree, {"SET": "set"})
    except ConfigError as error:
        return list(error.faults)
    return None


@hypothesis_settings(deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=6))
def test_any_tree_is_prepared_or_refused_line_by_line(tree: dict[str, Any]) -> None:
    """Whatever settings are given, the answer is a set-up or `ConfigError` with printable lines."""
    # The names of plugins and backends are told, whatever somebody calls them.
    assume(all(SECRET not in repr(tree.get(part)) for part in ("plugins", "auth", "assistants", "backends")))
    lines = lines_about(tree)
    assert lines is None or lines
    assert all(line.isprintable() for line in lines or ())
    assert SECRET not in "".join(lines or ())


@hypothesis_settings(deadline=None)
@given(VALUES)
def test_good_settings_with_any_section_beside_them(value: Any) -> None:
    """Good required settings are not called missing, whatever stands beside them."""
    for section in ("call", "auth", "backends", "http"):
        lines = lines_about({**GOOD, section: value})
        assert not any(line.startswith("livekit") for line in lines or ())


def test_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without arguments, the process's environment names the file and fills it."""
    path = tmp_path / "mine.yaml"
    path.write_text("livekit: {api_key: '${MY_KEY}', api_secret: '${MY_SECRET}'}\n")
    for name, value in {"WEBCALL_CONFIG": str(path), "MY_KEY": "k", "MY_SECRET": SECRET}.items():
        monkeypatch.setenv(name, value)
    assert prepare().config.livekit.api_secret == SECRET
