"""To import this module is the rehearsal: `webcall.worker.ahead` imports modules and calls nothing."""

from __future__ import annotations

from webcall.worker.rehearsal import rehearse

rehearse()
