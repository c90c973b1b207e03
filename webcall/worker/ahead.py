"""What calls are likely to import, imported once: in the process that the worker's others are forked from.

Of what fails while it preloads, `multiprocessing` passes over `ImportError` alone. All else ends that
process, and with it every call before it begins. Here nothing does: it fails again in the call that needs
it, and is told there.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from contextlib import suppress

# How the names come to that process, which imports this module and calls nothing.
_NAMES = "_WEBCALL_WORKER_IMPORTS"


def import_ahead(names: Iterable[str]) -> str:
    """Return the module to preload, for a process that is still to be started from this one."""
    os.environ[_NAMES] = " ".join(names)
    return __name__


for _name in os.environ.get(_NAMES, "").split():
    with suppress(Exception):
        importlib.import_module(_name)
