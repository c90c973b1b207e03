"""Load the plugins that the configuration names, and collect the backends that they offer.

Nothing here is global: each application has a manager of its own, made by `load_plugins`.
"""

from __future__ import annotations

import importlib
import inspect
import re
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any

import pluggy
from marshmallow import Schema

from webcall import hookspecs
from webcall.config.faults import nearest, shown
from webcall.config.schema import ConfigSchema
from webcall.interfaces import Backend

ENTRY_POINTS = "webcall.plugins"
_PREFIX = "webcall_"
_BACKEND_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Plugins:
    """What is loaded: the manager, the backends of both kinds by name, and who offers them."""

    manager: pluggy.PluginManager
    validators: dict[str, Backend] = field(default_factory=dict)
    stores: dict[str, Backend] = field(default_factory=dict)
    offered_by: dict[str, str] = field(default_factory=dict)

    def hooks_of(self, names: Iterable[str]) -> dict[str, dict[str, Callable[..., Any]]]:
        """Return, by plugin, callables for those of the hooks `names` that it implements.

        Each calls that plugin alone: pluggy stops at the first that raises, and the others would not
        be told.
        """
        found: dict[str, dict[str, Callable[..., Any]]] = {}
        for name in names:
            implementations = getattr(self.manager.hook, name).get_hookimpls()
            everybody = [implementation.plugin for implementation in implementations]
            for implementation in implementations:
                others = [plugin for plugin in everybody if plugin is not implementation.plugin]
                caller = self.manager.subset_hook_caller(name, others)
                found.setdefault(implementation.plugin_name, {})[name] = caller
        return found

    @property
    def backends(self) -> dict[str, Backend]:
        """Every backend by name, whichever kinds it offers."""
        return {**self.stores, **self.validators}


def load_plugins(names: Iterable[str]) -> tuple[Plugins, list[str]]:
    """Import and register the plugins called `names`, and ask each for its backends.

    Returns what was loaded and the faults, one line each, led by the plugin's name: a plugin that does
    not exist, that has no hooks, that misspells one, whose hook fails, or that offers a backend's name
    a second time.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    plugins = Plugins(manager)
    faults: list[str] = []
    for name in dict.fromkeys(names):
        try:
            module = _find(name)
            _register(manager, name, module)
        except _Fault as fault:
            faults.append(f"{shown(name)}: {fault}")
        except Exception as error:
            faults.append(f"{shown(name)}: cannot be registered: {reason_of(error)}")
        else:
            faults += (f"{shown(name)}: {fault}" for fault in _collect(plugins, name, module))
    return plugins, faults


def reason_of(error: BaseException) -> str:
    """Return an exception's type and place in one line; its text only where Python itself made it.

    Any other text may quote what the plugin was working on, such as a secret.
    """
    told = type(error).__name__
    if isinstance(error, ImportError | SyntaxError | AttributeError | NameError):
        told += f": {' '.join(str(error).split())}"
    frames = list(traceback.walk_tb(error.__traceback__))
    if not frames or isinstance(error, SyntaxError):
        return told
    frame, line = frames[-1]
    return f"{told} ({frame.f_code.co_filename}, line {line})"


class _Fault(Exception):
    pass


def _find(name: str) -> Any:
    points = {point.value: point for point in entry_points(group=ENTRY_POINTS, name=name)}
    if len(points) > 1:
        places = " and ".join(sorted(points))
        raise _Fault(f"several installed packages have an entry point of this name, for {places}")
    for point in points.values():
        return _import(point.load)
    if not all(part.isidentifier() for part in name.split(".")):
        raise _Fault(_no_plugin(name))
    return _import(lambda: importlib.import_module(name), name)


def _import(load: Callable[[], Any], name: str = "") -> Any:
    try:
        return load()
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        # The module itself or a package around it, and not something that it imports.
        if missing and f"{name}.".startswith(f"{missing}."):
            raise _Fault(_no_plugin(name)) from None
        raise _Fault(f"cannot be imported: {reason_of(error)}") from None


def _no_plugin(name: str) -> str:
    there = {point.name for point in entry_points(group=ENTRY_POINTS)}
    there |= set(ConfigSchema().fields["plugins"].load_default)
    return "no module or entry point of this name" + nearest(name, there)


def _specs() -> list[str]:
    return [name for name, _ in inspect.getmembers(hookspecs, inspect.isfunction) if name.startswith(_PREFIX)]


def _register(manager: pluggy.PluginManager, name: str, module: Any) -> None:
    _check_marks(manager, module)
    if manager.is_registered(module):
        raise _Fault(f"the same plugin as {manager.get_name(module)}: remove one of them")
    try:
        manager.register(module, name=name)
    except pluggy.PluginValidationError as error:
        # Its last line tells what is wrong; those before it, where.
        raise _Fault(" ".join(str(error).split())) from None
    specs = _specs()
    callers = manager.get_hookcallers(module) or []
    for caller in callers:
        if caller.name not in specs:
            raise _Fault(f"no hook is called '{caller.name}'{nearest(caller.name, specs)}")
    if not callers:
        raise _Fault(f"implements no hook (there are: {', '.join(specs)}; decorate with @webcall.hookimpl)")


def _check_marks(manager: pluggy.PluginManager, module: Any) -> None:
    """Find functions that are named like hooks and are not marked: pluggy passes over them in silence."""
    for name, function in inspect.getmembers(module, inspect.isroutine):
        if not name.startswith(_PREFIX):
            continue
        marks = manager.parse_hookimpl_opts(module, name)
        if marks is None:
            raise _Fault(f"{name} is not decorated with @webcall.hookimpl")
        if marks.get("wrapper") or marks.get("hookwrapper"):
            raise _Fault(f"{name} is a wrapper: hooks offer backends of their own only")
        if inspect.iscoroutinefunction(function):
            raise _Fault(f"{name} is asynchronous: hooks are plain functions")


def _collect(plugins: Plugins, plugin: str, module: Any) -> Iterator[str]:
    kinds = {"webcall_key_validators": plugins.validators, "webcall_assistant_stores": plugins.stores}
    for hook, backends in kinds.items():
        for implementation in getattr(plugins.manager.hook, hook).get_hookimpls():
            if implementation.plugin is not module:
                continue
            try:
                offered = implementation.function()
            except (Exception, SystemExit) as error:
                yield f"{hook} failed: {reason_of(error)}"
                continue
            if not isinstance(offered, list | tuple):
                yield f"{hook} returned {type(offered).__name__}, not a list of webcall.Backend"
                continue
            for backend in offered:
                fault = _malformed(backend) or _taken(plugins, backends, plugin, backend)
                if fault:
                    yield f"{hook}: {fault}"
                else:
                    plugins.offered_by[backend.name] = plugin
                    backends[backend.name] = backend


def _malformed(backend: Any) -> str | None:
    if not isinstance(backend, Backend):
        return f"returned {type(backend).__name__}, not webcall.Backend"
    if not isinstance(backend.name, str) or not _BACKEND_NAME.fullmatch(backend.name):
        return "a backend's name is made of letters, digits, - and _"
    schema = backend.settings_schema
    if schema is not None and not (isinstance(schema, type) and issubclass(schema, Schema)):
        return (
            f"the settings_schema of the backend '{backend.name}' is not a marshmallow Schema class or None"
        )
    if not callable(backend.factory):
        return f"the factory of the backend '{backend.name}' cannot be called"
    return None


def _taken(plugins: Plugins, backends: dict[str, Backend], plugin: str, backend: Backend) -> str | None:
    owner = plugins.offered_by.get(backend.name, plugin)
    if owner != plugin or backend.name in backends:
        return f"the backend '{backend.name}' is offered by {owner} already"
    other = plugins.backends.get(backend.name)
    if other and other.settings_schema is not backend.settings_schema:
        return f"the two sides of the backend '{backend.name}' have different settings schemas"
    return None
