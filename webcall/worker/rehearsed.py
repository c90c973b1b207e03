"""To import this module is the rehearsal: `webcall.worker.ahead` imports modules and calls nothing."""

from __future__ import annotations

import logging

from webcall.worker.rehearsal import rehearse

try:
    rehearse()
except Exception as error:
    # By its kind alone: what an SDK says may quote what it was given.
    logging.getLogger(__name__).warning("rehearsal failed, calls begin later: %s", type(error).__name__)
