"""What gunicorn and the `flask` command find: `app`."""

from __future__ import annotations

import sys

from webcall import create_app
from webcall.app import create_app_for_help
from webcall.errors import ConfigError

try:
    app = create_app()
except ConfigError as error:
    # An operator's mistake is a line on the terminal, not a traceback.
    print(*error.faults, sep="\n", file=sys.stderr)  # noqa: T201
    # Whoever asks how a command is used may not have the settings yet.
    if "--help" not in sys.argv[1:]:
        raise SystemExit(2) from None
    app = create_app_for_help()
