"""`flask webcall …`: thin click commands over functions that tests can import."""

from __future__ import annotations

from flask import Flask

from webcall.cli.assistants import assistants
from webcall.cli.backends import BackendCommands
from webcall.cli.call import call
from webcall.cli.check import check
from webcall.cli.keys import keys
from webcall.cli.plugins import plugins
from webcall.cli.records import records
from webcall.cli.watch import watch

webcall = BackendCommands("webcall", help="Look after the web-call service.")
for command in (assistants, call, check, keys, plugins, records, watch):
    webcall.add_command(command)


def init_app(app: Flask) -> None:
    """Add the commands to the `flask` command of `app`."""
    app.cli.add_command(webcall)
