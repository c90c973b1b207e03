"""`flask webcall BACKEND init`: what a backend needs before it serves, such as indexes."""

from __future__ import annotations

import click
from flask import current_app, has_app_context
from flask.cli import ScriptInfo, with_appcontext

from webcall.cli.common import Group, services, services_of
from webcall.core.services import Services
from webcall.errors import WebCallError
from webcall.interfaces import Prepares


class BackendCommands(Group):
    """The group `webcall`, with a sub-group for each backend; the help lists those in use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, those of backends that need preparation included."""
        try:
            app_services = _services(ctx)
            sides = [*app_services.validators(), *app_services.stores()]
        except WebCallError:
            sides = []  # the help is asked for to fix it
        able = {name for name, backend in sides if isinstance(backend, Prepares)}
        return sorted({*super().list_commands(ctx), *able})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command of the group, or that of a backend."""
        return super().get_command(ctx, cmd_name) or self._backend(ctx, cmd_name)

    def _backend(self, ctx: click.Context, name: str) -> click.Command | None:
        # One that is not in use as well, so that its command can say so.
        if name not in _services(ctx).setup.plugins.backends:
            return None
        group = Group(name, help=f"The backend {name}.")

        @group.command("init")
        @with_appcontext
        def init() -> None:
            """Make the indexes or tables that are missing. May be run again."""
            for line in prepare_backend(name):
                click.echo(line)

        return group


def _services(ctx: click.Context) -> Services:
    app = current_app if has_app_context() else ctx.ensure_object(ScriptInfo).load_app()
    return services_of(app)


def sides_in_use() -> list[tuple[str, object]]:
    """Return (name, backend) of every backend in use, once for each of its two sides."""
    return [*services().validators(), *services().stores()]


def prepare_backend(name: str) -> list[str]:
    """Prepare both sides of a backend; return a line for each thing that was made.

    Raises `WebCallError` if the backend is not in use or needs no preparation.
    """
    if name not in {known for known, _ in sides_in_use()}:
        raise WebCallError(
            f"the backend '{name}' is not in use: name it in auth.validators or assistants.stores, "
            f"such as WEBCALL_VALIDATORS={name} WEBCALL_STORES={name}"
        )
    able = [side for known, side in sides_in_use() if known == name and isinstance(side, Prepares)]
    if not able:
        others = {known for known, side in sides_in_use() if isinstance(side, Prepares)}
        hint = f"; {' and '.join(sorted(others))} does" if others else ""
        raise WebCallError(f"the backend '{name}' needs no preparation{hint}")
    return [line for side in able for line in side.prepare()] or ["everything is there already"]
