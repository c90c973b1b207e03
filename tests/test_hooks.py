"""Every hook is documented, carries the prefix, is implemented by a built-in plugin, and is tested."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from webcall import Backend, hookspecs
from webcall.config.schema import ConfigSchema
from webcall.plugin_manager import load_plugins

ROOT = Path(__file__).parents[1]
BOTH = {"env", "file", "mongo", "sql", "http"}
BUILT_IN = ConfigSchema().fields["plugins"].load_default
HOOKS = {
    name: function
    for name, function in inspect.getmembers(hookspecs, inspect.isfunction)
    if hasattr(function, f"{hookspecs.PROJECT}_spec")
}


OBSERVING = {"webcall_call_created", "webcall_call_refused", "webcall_call_ended"}


@pytest.mark.parametrize("name", HOOKS)
def test_hook_is_whole(name: str) -> None:
    """A hook has the prefix, says what it returns, is on the authors' page, implemented and tested."""
    assert name.startswith("webcall_")
    assert len(inspect.getdoc(HOOKS[name]) or "") > 100
    returns = None if name in OBSERVING else list[Backend]
    assert inspect.signature(HOOKS[name], eval_str=True).return_annotation == returns
    assert name in (ROOT / "docs/writing-a-plugin.md").read_text()
    plugins, faults = load_plugins([*BUILT_IN, "plugins.audit"])
    assert faults == []
    implemented_by = {one.plugin_name for one in getattr(plugins.manager.hook, name).get_hookimpls()}
    # Logins are keys, and no assistants.
    offering = set(BUILT_IN) - ({"plugins.jwt"} if name == "webcall_assistant_stores" else set())
    assert implemented_by == ({"plugins.audit"} if name in OBSERVING else offering)
    assert f"test_{name}" in globals()


def test_hooks_are_those_of_the_manager() -> None:
    """No hook is known to the manager that is not a function of the specification, nor the other way."""
    plugins, _ = load_plugins([])
    known = {name for name in vars(plugins.manager.hook) if not name.startswith("_")}
    assert known == set(HOOKS)
    assert known


def offered(hook: str) -> dict[str, Any]:
    plugins, _ = load_plugins(BUILT_IN)
    answers = getattr(plugins.manager.hook, hook)()
    return {backend.name: backend for answer in answers for backend in answer}


def test_webcall_key_validators() -> None:
    """The hook's answers are the validators that can be chosen by name."""
    plugins, _ = load_plugins(BUILT_IN)
    assert plugins.validators.keys() == offered("webcall_key_validators").keys() == {*BOTH, "jwt"}


def test_webcall_assistant_stores() -> None:
    """The hook's answers are the stores that can be chosen by name."""
    plugins, _ = load_plugins(BUILT_IN)
    assert plugins.stores.keys() == offered("webcall_assistant_stores").keys() == BOTH


@pytest.mark.parametrize("name", sorted(OBSERVING))
def test_observing_hooks_are_called_one_plugin_at_a_time(name: str) -> None:
    """Of an observing hook, each plugin has a callable of its own, with the specification's arguments."""
    plugins, _ = load_plugins([*BUILT_IN, "plugins.audit"])
    assert {plugin: set(hooks) for plugin, hooks in plugins.hooks_of([name]).items()} == {
        "plugins.audit": {name}
    }


test_webcall_call_created = test_webcall_call_refused = test_observing_hooks_are_called_one_plugin_at_a_time
test_webcall_call_ended = test_observing_hooks_are_called_one_plugin_at_a_time
