"""Settings: YAML, references, rates, and every value in every place."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import limits
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.deployment import settings as shipped
from tests.support.fuzzing import fuzzed
from webcall.config.interpolation import interpolate
from webcall.config.parsing import parse
from webcall.config.source import read
from webcall.errors import ConfigError
from webcall.rates import parse_rate
from webcall.startup import prepare

CANARY = "canary-of-a-setting"
HIDDEN = "canary-of-a-secret of 32 bytes at the least"

PIECES = st.sampled_from(
    [
        *(
            "a",
            "b:",
            "- ",
            ": ",
            "\n",
            "\n  ",
            "  ",
            "[",
            "]",
            "{",
            "}",
            ",",
            "#",
            "|",
            ">",
            "&x",
            "*x",
            "<<: *x",
        ),
        *(
            "!!python/object:os.system",
            "!!binary",
            "!!set",
            "!!timestamp",
            "%YAML",
            "---",
            "...",
            "'",
            '"',
            "\t",
        ),
        *(
            "2020-02-31",
            "1_000",
            "0o17",
            "0x1F",
            "1e3",
            "~",
            "yes",
            "NaN",
            ".inf",
            "9" * 5000,
            "1:30:00",
            "=",
            "@",
        ),
        *("\x00", "\x85", "\ufeff", "\ud800", "é", "?", "? "),
    ]
)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.dates() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
DOCUMENTS = st.one_of(
    st.lists(PIECES, max_size=12).map("".join),
    TREES.map(lambda tree: yaml.safe_dump(tree, allow_unicode=True)),
    TREES.map(lambda tree: yaml.safe_dump({"a": tree}, default_flow_style=True)),
    st.text(max_size=20),
)


@fuzzed
@given(DOCUMENTS)
@example("a: &x [*x]")
@example("a: 2020-02-31")
@example("a: !!python/object/apply:os.system [id]")
@example("[" * 400)
def test_yaml_is_what_a_safe_loader_reads(text: str) -> None:
    """Settings are read as PyYAML's safe loader reads them, or refused with one line that quotes nothing."""
    try:
        expected: Any = yaml.safe_load(text)
        safe = True
    except Exception:
        safe = False
    try:
        found = parse(text, "config.yaml")
    except ConfigError as error:
        faults = error.faults
    else:
        assert safe
        assert repr(found) == repr(expected or {})
        return
    [line] = faults
    assert line.startswith("config.yaml: ")
    assert line.isprintable()


def places(tree: Any) -> list[tuple[str, ...]]:
    """Return the way to every value of a tree of mappings."""
    if not isinstance(tree, dict):
        return [()]
    return [(name, *rest) for name, inner in tree.items() for rest in places(inner)]


SHIPPED = shipped()
# `plugins` would import what a value names.
PLACES = [place for place in places(SHIPPED) if place[0] != "plugins"]
LEAVES = st.one_of(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.dates()
    | st.datetimes(),
    st.binary(max_size=4),
    st.lists(st.text(max_size=4) | st.none() | st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    st.sampled_from(
        [CANARY, f"{CANARY}\n{CANARY}", f"{CANARY}\ud800", f"https://{CANARY}@[", f"${{X:-{CANARY}}}"]
    ),
    st.sampled_from([f"{kind}://{CANARY}:x@h:99999" for kind in ("redis", "mongodb", "sqlite", "https")]),
    st.sampled_from(
        ["127.0.0.1:8000", "60/minute", "https://*.a.example", "1e400", "9" * 30, " ", "${X}", "off"]
    ),
)
ENVIRON = {"LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": HIDDEN}


@fuzzed
@given(st.lists(st.tuples(st.sampled_from(PLACES), LEAVES), max_size=4))
@example([(("http", "bind"), "[::1]:99999"), (("limits", "storage_uri"), "redis://[")])
@example([(("livekit", "url"), "ws://[")])
def test_any_value_in_any_place_is_good_or_a_line(changes: list[tuple[tuple[str, ...], Any]]) -> None:
    """Whatever a setting is given, it is usable or told by its path in one line, which never quotes it."""
    tree = copy.deepcopy(SHIPPED)
    for place, value in changes:
        inner = tree
        for name in place[:-1]:
            inner = inner[name]
        inner[place[-1]] = value
    reading = read(tree, ENVIRON)
    assert (reading.config is None) is bool(reading.faults)
    for fault in map(str, reading.faults):
        assert CANARY not in fault
        assert "\n" not in fault
        assert any(fault.startswith(place[0]) for place, _ in changes)
    assert HIDDEN not in repr(reading)
    for told in reading.unresolved.values():
        assert CANARY not in told


BACKENDS = ["env", "file", "mongo", "sql", "jwt", "http"]
GOOD: dict[str, dict[str, Any]] = {
    "sql": {"url": f"postgresql://user:{HIDDEN.split()[0]}@db.example/webcall"},
    "jwt": {"issuer": "https://id.example", "audience": "calls"},
    "http": {"url": "https://company.example/calls", "secret": HIDDEN},
}
SETTINGS = [place[1:] for place in PLACES if place[0] == "backends" and len(place) > 2]


@fuzzed
@given(st.lists(st.tuples(st.sampled_from(SETTINGS), LEAVES), max_size=3))
@example([(("mongo", "uri"), "mongodb://[")])
def test_any_setting_of_a_backend_is_good_or_a_line(changes: list[tuple[tuple[str, ...], Any]]) -> None:
    """The plugins' own schemas, too, tell what is wrong by its path in one line, and quote nothing."""
    stores = [name for name in BACKENDS if name != "jwt"]
    tree = copy.deepcopy(SHIPPED) | {"auth": {"validators": BACKENDS}, "assistants": {"stores": stores}}
    for name, given_ in GOOD.items():
        tree["backends"][name].update(given_)
    for place, value in changes:
        inner = tree["backends"]
        for name in place[:-1]:
            inner = inner[name]
        inner[place[-1]] = value
    try:
        setup = prepare(tree, ENVIRON)
    except ConfigError as error:
        faults = error.faults
    else:
        assert HIDDEN not in repr(setup)
        return
    assert changes, faults
    for fault in faults:
        assert fault.startswith("backends.")
        assert CANARY not in fault
        assert "\n" not in fault


REFERENCES = st.lists(
    st.sampled_from(
        ["${", "}", "$", "$$", "NAME", "file:", "/nowhere/x", ":-", "-", "a", " ", "${NAME}", "${NAME:-a}"]
    ),
    max_size=8,
).map("".join)


def resolved(text: str, environ: dict[str, str]) -> str | None:
    """Return what a text with references means, read character by character; None for a fault."""
    result, at = "", 0
    while at < len(text):
        if text.startswith("$$", at):
            result, at = result + "$", at + 2
        elif not text.startswith("${", at):
            result, at = result + text[at], at + 1
        else:
            at += 2
            inside = ""
            while at < len(text) and text[at] != "}":
                if text.startswith("${", at):
                    return None
                taken = "$$" if text.startswith("$$", at) else text[at]
                inside, at = inside + taken, at + len(taken)
            if at == len(text):
                return None
            at += 1
            name, separator, default = inside.partition(":-")
            if name.startswith("file:") and name != "file:" and not name.startswith("file:-"):
                value = None
            elif name.isidentifier():
                value = environ.get(name)
            else:
                return None
            if not value and not separator:
                return None
            result += value or default.replace("$$", "$")
    return result


@fuzzed
@given(
    REFERENCES, st.dictionaries(st.sampled_from(["NAME", "a", "file"]), st.sampled_from(["", "v", "${NAME}"]))
)
@example("${file:-a}", {})
@example("${file:/nowhere/x:-a$$b}", {})
@example("$$${NAME}", {"NAME": "v"})
def test_references_are_read_as_by_hand(text: str, environ: dict[str, str]) -> None:
    """The regular expression means what a reader that goes by characters means."""
    tree, faults = interpolate([text], environ)
    assert tree == [resolved(text, environ)]
    assert bool(faults) is (tree == [None])


RATES = st.one_of(
    st.builds(
        "{}{}{}{}{}".format,
        st.integers(0, 2_000_000),
        st.sampled_from(["/", " per ", " / ", "per", "", " PER "]),
        st.sampled_from(["", "1", "10 ", "0 ", "99999999 "]),
        st.sampled_from(["second", "minute", "hour", "day", "seconds", "DAYS", "month", "week", ""]),
        st.sampled_from(["", " ", "s", "\n"]),
    ),
    st.text(max_size=12),
    st.sampled_from(["off", "OFF ", "\u0661/minute", "1/minute;2/hour"]),
)


@fuzzed
@given(RATES)
def test_a_rate_is_what_the_package_limits_reads(text: str) -> None:
    """A rate that is taken means to `limits` the same, comes back from its own form, and is within bounds."""
    try:
        rate = parse_rate(text)
    except ValueError:
        return
    if rate is None:
        assert text.strip().lower() == "off"
        return
    assert parse_rate(str(rate)) == rate
    item = limits.parse(text.strip())
    assert (item.amount, item.get_expiry()) == (rate.count, rate.per_s)
    assert 1 <= rate.count <= 1_000_000


@fuzzed
@given(st.binary(max_size=60) | DOCUMENTS.map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_file_is_settings_or_a_line(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever bytes a file holds, it is read, or told in lines that an operator can print."""
    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    path.write_bytes(content)
    try:
        faults = [str(fault) for fault in read(Path(path), ENVIRON).faults]
    except ConfigError as error:
        faults = list(error.faults)
    assert faults, "livekit.api_key is missing at the least"
    assert all(fault.isprintable() for fault in faults)
