"""Load the plugins that the configuration names, and collect the backends that they offer.

Nothing here is global: each application has a manager of its own, made by `load_plugins`.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

import pluggy

from webcall import hookspecs
from webcall.config.source import nearest
from webcall.interfaces import Backend

ENTRY_POINTS = "webcall.plugins"
_PREFIX = "webcall_"


@dataclass(frozen=True)
class Plugins:
    """What is loaded: the manager, the backends of both kinds by name, and who offers them."""

    manager: pluggy.PluginManager
    validators: dict[str, Backend] = field(default_factory=dict)
    stores: dict[str, Backend] = field(default_factory=dict)
    offered_by: dict[str, str] = field(default_factory=dict)

    @property
    def backends(self) -> dict[str, Backend]:
        """Every backend by name, whichever kinds it offers."""
        return {**self.stores, **self.validators}


def load_plugins(names: Iterable[str]) -> tuple[Plugins, list[str]]:
    """Import and register the plugins called `names`, and ask each for its backends.

    Returns what was loaded and the faults, one line each: a plugin that does not exist, that has no
    hooks, that misspells one, whose hook fails, or that offers a backend's name a second time.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    plugins = Plugins(manager)
    faults: list[str] = []
    for name in dict.fromkeys(names):
        try:
            module = _find(name)
            _check_marks(module)
            manager.register(module, name=name)
            _check_hooks(manager, module)
        except _Fault as fault:
            faults.append(f"plugins: {name}: {fault}")
        except (pluggy.PluginValidationError, ValueError) as error:
            faults.append(f"plugins: {name}: {' '.join(str(error).split())}")
        else:
            faults += _collect(plugins, name, module)
    return plugins, faults


class _Fault(Exception):
    pass


def _find(name: str) -> Any:
    for found in entry_points(group=ENTRY_POINTS, name=name):
        return _import(found.load)
    return _import(lambda: importlib.import_module(name), name)


def _import(load: Any, name: str = "") -> ModuleType:
    try:
        module: ModuleType = load()
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise _Fault("no module or entry point of this name") from None
        raise _Fault(f"cannot be imported: {error}") from None
    except Exception as error:
        raise _Fault(f"cannot be imported: {type(error).__name__}: {error}") from None
    return module


def _specs() -> list[str]:
    return [name for name, _ in inspect.getmembers(hookspecs, inspect.isfunction) if name.startswith(_PREFIX)]


def _check_marks(module: Any) -> None:
    """Find functions that are named like hooks and are not marked: pluggy passes over them in silence."""
    for name, function in inspect.getmembers(module, inspect.isroutine):
        if name.startswith(_PREFIX) and not hasattr(function, f"{hookspecs.PROJECT}_impl"):
            raise _Fault(f"{name} is not decorated with @webcall.hookimpl")


def _check_hooks(manager: pluggy.PluginManager, module: Any) -> None:
    callers = manager.get_hookcallers(module) or []
    specs = _specs()
    for caller in callers:
        if caller.name not in specs:
            raise _Fault(f"no hook is called '{caller.name}'{nearest(caller.name, specs)}")
    if not callers:
        raise _Fault(f"implements no hook (there are: {', '.join(specs)}; decorate with @webcall.hookimpl)")


def _collect(plugins: Plugins, plugin: str, module: Any) -> list[str]:
    faults = []
    kinds = {"webcall_key_validators": plugins.validators, "webcall_assistant_stores": plugins.stores}
    for hook, backends in kinds.items():
        for implementation in getattr(plugins.manager.hook, hook).get_hookimpls():
            if implementation.plugin is not module:
                continue
            try:
                offered = list(implementation.function())
            except Exception as error:
                faults.append(f"plugins: {plugin}: {hook} failed: {type(error).__name__}: {error}")
                continue
            for backend in offered:
                fault = _accept(plugins, backends, plugin, backend)
                if fault:
                    faults.append(f"plugins: {plugin}: {hook}: {fault}")
    return faults


def _accept(plugins: Plugins, backends: dict[str, Backend], plugin: str, backend: Any) -> str | None:
    if not isinstance(backend, Backend):
        return f"returned {type(backend).__name__}, not webcall.Backend"
    owner = plugins.offered_by.setdefault(backend.name, plugin)
    if owner != plugin or backend.name in backends:
        return f"the backend '{backend.name}' is offered by {owner} already"
    other = plugins.backends.get(backend.name)
    if other and other.settings_schema is not backend.settings_schema:
        return f"the two sides of the backend '{backend.name}' have different settings schemas"
    backends[backend.name] = backend
    return None
