"""Loading plugins by module and by entry point, and every way in which one can be wrong."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from webcall.plugin_manager import load_plugins

GOOD = """
from marshmallow import Schema, fields
from webcall import Backend, hookimpl

class Settings(Schema):
    path = fields.String()

def factory(settings):
    raise AssertionError("made before its time")

@hookimpl
def webcall_key_validators():
    return [Backend("acme", "of the tests", Settings, factory)]

@hookimpl
def webcall_assistant_stores():
    return [Backend("acme", "of the tests", Settings, factory)]
"""
HOOK = "from webcall import Backend, hookimpl\n@hookimpl\ndef webcall_key_validators():\n    "
Write = Callable[[str, str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Make a module that can be imported, and return its name."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(name: str, code: str) -> str:
        (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return make


def entry_point(folder: Path, package: str, name: str, value: str) -> None:
    """Make what an installed package with this entry point leaves on the path."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[webcall.plugins]\n{name} = {value}\n")


def test_manager_belongs_to_its_caller(write: Write) -> None:
    """Each call makes a manager of its own, with the plugins that it names and no others."""
    write("acme_good", GOOD)
    (one, no_faults), (other, _) = load_plugins(["plugins.env", "acme_good"]), load_plugins(["plugins.file"])
    assert no_faults == []
    assert one.manager is not other.manager
    assert [name for name, _ in one.manager.list_name_plugin()] == ["plugins.env", "acme_good"]
    assert one.offered_by == {"env": "plugins.env", "acme": "acme_good"}
    assert other.backends.keys() == {"file"}


def test_entry_point_is_a_plugin_too(write: Write, tmp_path: Path) -> None:
    """A plugin is found by the name of its entry point; the same one by its module is one too many."""
    write("acme_module", GOOD)
    entry_point(tmp_path, "acme_package", "acme", "acme_module")
    plugins, faults = load_plugins(["acme"])
    assert (faults, plugins.offered_by) == ([], {"acme": "acme"})
    _, [fault] = load_plugins(["acme", "acme_module"])
    assert fault == "acme_module: the same plugin as acme: remove one of them"
    _, [fault] = load_plugins(["acmee"])
    there = "plugins.env, plugins.file, plugins.http, plugins.jwt, plugins.mongo, plugins.sql"
    assert f"did you mean 'acme'? (there are: acme, {there})" in fault


def test_entry_point_of_two_packages_is_refused(write: Write, tmp_path: Path) -> None:
    """A name that two packages claim is not settled by chance."""
    entry_point(tmp_path, "one_package", "acme", "one_module")
    entry_point(tmp_path, "two_package", "acme", "two_module")
    _, [fault] = load_plugins(["acme"])
    assert "several installed packages" in fault
    assert "one_module and two_module" in fault


WRONG = {
    "no hooks": ("x = 1", "implements no hook .*webcall_assistant_stores.*webcall_key_validators"),
    "misspelt": (
        HOOK.replace("validators", "validator") + "return []",
        "no hook is called 'webcall_key_validator'; did you mean 'webcall_key_validators'",
    ),
    "without prefix": (
        HOOK.replace("webcall_key", "key") + "return []",
        "no hook is called 'key_validators'",
    ),
    "undecorated": ("def webcall_key_validators(): return []", "not decorated with @webcall.hookimpl"),
    "one undecorated": (
        HOOK + "return []\ndef webcall_assistant_stores(): return []",
        "webcall_assistant_stores is not decorated",
    ),
    "signature": (HOOK.replace("()", "(app)") + "return []", r"webcall_key_validators.*'app'"),
    "wrapper": (
        HOOK.replace("@hookimpl", "@hookimpl(wrapper=True)") + "return (yield)",
        "is a wrapper",
    ),
    "asynchronous": (HOOK.replace("def ", "async def ") + "return []", "is asynchronous"),
    "raises": (
        HOOK + "raise ValueError('canary\\n')",
        r"webcall_key_validators failed: ValueError \(.*line 4",
    ),
    "exits": (HOOK + "raise SystemExit(0)", "webcall_key_validators failed: SystemExit"),
    "none": (HOOK + "return None", "returned NoneType, not a list"),
    "text": (HOOK + "return 'canary'", "returned str, not a list"),
    "garbage": (HOOK + "return [{'name': 'canary'}]", "returned dict, not webcall.Backend"),
    "name": (HOOK + "return [Backend('a,b', '', None, print)]", "name is made of letters"),
    "no name": (HOOK + "return [Backend(None, '', None, print)]", "name is made of letters"),
    "schema": (HOOK + "return [Backend('a', '', 'canary', print)]", "settings_schema of the backend 'a'"),
    "factory": (
        HOOK + "return [Backend('a', '', None, None)]",
        "factory of the backend 'a' cannot be called",
    ),
    "twice": (HOOK + "return [Backend('a', '', None, print)] * 2", "'a' is offered by .* already"),
    "two schemas": (GOOD + "\nclass Settings(Schema):\n    other = fields.String()\n", None),
    "needs what is missing": (
        "import no_such_driver",
        "cannot be imported: .*No module named 'no_such_driver'",
    ),
    "syntax": ("def canary(:", "cannot be imported: SyntaxError"),
    "import fails": ("raise RuntimeError('canary\\ncanary')", r"cannot be imported: RuntimeError \(.*line 1"),
    "import exits": ("import sys; sys.exit('canary')", "cannot be imported: SystemExit"),
    "name error": ("undefined_name", "NameError: name 'undefined_name' is not defined"),
}


@pytest.mark.parametrize(("code", "told"), WRONG.values(), ids=WRONG)
def test_wrong_plugin_is_one_line(write: Write, code: str, told: str | None) -> None:
    """A plugin that cannot be used is one line with its name, the cause and the fix, and no foreign text."""
    if told is None:
        code = GOOD.replace("Settings, factory)]\n\n@hook", "None, factory)]\n\n@hook")
        told = "two sides of the backend 'acme' have different settings schemas"
    name = write("acme_wrong", code)
    plugins, [fault] = load_plugins(["plugins.env", name])
    assert re.match(rf"acme_wrong: .*{told}", fault)
    assert "\n" not in fault
    assert "canary" not in fault
    assert "env" in plugins.backends


@pytest.mark.parametrize("name", ["", ".x", "plugins.evn", "no such", "a\0b", "a..b", "x" * 500])
def test_unknown_plugin_names_those_that_exist(name: str) -> None:
    """A plugin that does not exist is one line with those that are known."""
    _, [fault] = load_plugins([name])
    assert "no module or entry point of this name; did you mean 'plugins." in fault
    assert fault.isprintable()


def test_backend_belongs_to_one_plugin(write: Write) -> None:
    """The second plugin that offers a backend's name is refused, whichever side it offers."""
    write("acme_good", GOOD)
    write("acme_other", GOOD.partition("@hookimpl\ndef webcall_assistant_stores")[0])
    plugins, [fault] = load_plugins(["acme_good", "acme_other"])
    assert fault == "acme_other: webcall_key_validators: the backend 'acme' is offered by acme_good already"
    assert plugins.offered_by == {"acme": "acme_good"}


def test_every_fault_of_every_plugin_is_told(write: Write) -> None:
    """One wrong plugin does not hide another."""
    write("acme_one", "x = 1")
    write("acme_two", "raise RuntimeError")
    _, faults = load_plugins(["acme_one", "acme_two", "acme_three"])
    assert [fault.partition(":")[0] for fault in faults] == ["acme_one", "acme_two", "acme_three"]
