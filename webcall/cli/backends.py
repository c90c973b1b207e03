"""`flask webcall BACKEND init`: what a backend needs before it serves, such as indexes."""

from __future__ import annotations

import click
from flask import current_app, has_app_context
from flask.cli import ScriptInfo, with_appcontext

from webcall.cli.common import Group, services
from webcall.errors import WebCallError
from webcall.interfaces import Prepares


class BackendCommands(Group):
    """The group `webcall`, with a sub-group for each backend that is in use."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command of the group, or that of a backend."""
        return super().get_command(ctx, cmd_name) or self._backend(ctx, cmd_name)

    def _backend(self, ctx: click.Context, name: str) -> click.Command | None:
        app = current_app if has_app_context() else ctx.ensure_object(ScriptInfo).load_app()
        setup = app.extensions["webcall"].setup
        if name not in {chosen.backend.name for chosen in (*setup.validators, *setup.stores)}:
            return None
        group = Group(name, help=f"The backend {name}.")

        @group.command("init")
        @with_appcontext
        def init() -> None:
            """Make the indexes or tables that are missing. May be run again."""
            for line in prepare_backend(name):
                click.echo(line)

        return group


def prepare_backend(name: str) -> list[str]:
    """Prepare both sides of a backend; return a line for each thing that was made."""
    sides = [backend for known, backend in (*services().validators(), *services().stores()) if known == name]
    able = [side for side in sides if isinstance(side, Prepares)]
    if not able:
        raise WebCallError(f"the backend '{name}' needs no preparation")
    return [line for side in able for line in side.prepare()] or ["everything is there already"]
