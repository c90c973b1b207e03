"""`flask webcall check`."""

from __future__ import annotations

import sys

import click
from flask.cli import with_appcontext

from webcall.cli.common import echo_json, json_option, printable, services
from webcall.core.diagnosis import diagnose

_MARKS = {"ok": "ok     ", "warning": "warning", "failed": "FAILED "}


@click.command()
@click.option("--assistant", "assistant_id", metavar="ID", help="Tell where this assistant is, too.")
@json_option
@with_appcontext
def check(assistant_id: str | None, as_json: bool) -> None:
    """Look at every setting, plugin and backend and at LiveKit: ok, or what is wrong and the fix.

    Ends with status 2 for wrong settings and 1 for anything else that fails.
    """
    failed = False
    findings = []
    try:
        for finding in diagnose(services(), assistant_id):
            failed |= finding.status == "failed"
            if as_json:
                findings.append(vars(finding))
                continue
            click.echo(f"{_MARKS[finding.status]}  {printable(f'{finding.part}: {finding.message}')}")
            if finding.fix:
                click.echo(f"         → {printable(finding.fix)}")
    finally:
        services().close()
    if as_json:
        echo_json(findings)
    sys.exit(1 if failed else 0)
