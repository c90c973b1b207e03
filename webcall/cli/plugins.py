"""`flask webcall plugins`."""

from __future__ import annotations

from importlib.metadata import packages_distributions, version

import click
from flask.cli import with_appcontext

from webcall.cli.common import echo_json, echo_table, json_option, services
from webcall.core.observers import CREATED, ENDED, REFUSED


@click.command()
@json_option
@with_appcontext
def plugins(as_json: bool) -> None:
    """Tell what is loaded: module, version, backends, and which of them are in use."""
    rows = plugin_rows()
    if as_json:
        echo_json(rows)
        return
    headings = ("plugin", "version", "backend", "api keys", "assistants", "description")
    echo_table(headings, ([row[heading] for heading in headings] for row in rows))


def plugin_rows() -> list[dict[str, str]]:
    """Return a row for each backend of each loaded plugin, and one for a plugin that offers none."""
    setup = services().setup
    backends = setup.plugins.backends
    used = {
        "api keys": {chosen.backend.name for chosen in setup.validators},
        "assistants": {chosen.backend.name for chosen in setup.stores},
    }
    offered = {"api keys": setup.plugins.validators, "assistants": setup.plugins.stores}
    plugins_and_backends = [(plugin, name) for name, plugin in setup.plugins.offered_by.items()]
    observing = setup.plugins.hooks_of((CREATED, REFUSED, ENDED))
    idle = [name for name in setup.config.plugins if name not in setup.plugins.offered_by.values()]
    return [
        {
            "plugin": plugin,
            "version": _version(setup.plugins.manager.get_plugin(plugin)),
            "backend": name,
            "description": backends[name].description
            if name in backends
            else ("observes calls" if plugin in observing else "-"),
        }
        | {
            kind: "in use" if name in used[kind] else "offered" if name in offered[kind] else "-"
            for kind in offered
        }
        for plugin, name in [*plugins_and_backends, *((plugin, "-") for plugin in idle)]
    ]


def _version(module: object) -> str:
    own = getattr(module, "__version__", None)
    package = str(getattr(module, "__name__", "")).partition(".")[0]
    names = packages_distributions().get(package)
    return str(own or (version(names[0]) if names else "-"))
