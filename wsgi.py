"""What gunicorn and the `flask` command find: `app`."""

from __future__ import annotations

import sys

from webcall import create_app
from webcall.errors import ConfigError

try:
    app = create_app()
except ConfigError as error:
    # An operator's mistake is a line on the terminal, not a traceback.
    print(*error.faults, sep="\n", file=sys.stderr)  # noqa: T201
    raise SystemExit(2) from None
