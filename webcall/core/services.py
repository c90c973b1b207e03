"""What one worker process needs to serve calls, each part made at its first use, after the fork."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import Any

import structlog

from webcall.core.calls import Calls
from webcall.core.gate import Gate
from webcall.core.livekit import LiveKit
from webcall.core.lookup import Assistants, KeyRing
from webcall.core.readiness import Readiness
from webcall.core.rooms import Rooms
from webcall.errors import BackendError
from webcall.interfaces import AssistantStore, Closes, KeyValidator
from webcall.logs import describe
from webcall.plugin_manager import Plugins
from webcall.startup import Chosen, Setup

log = structlog.stdlib.get_logger("webcall.services")


class Services:
    """The parts of a running service. Making it opens nothing."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.config = setup.config
        self.gate = Gate(setup.config.http.threads)
        self.livekit = LiveKit(setup.config.livekit)
        self._making = threading.RLock()
        self._made: dict[tuple[str, str], Any] = {}

    @property
    def plugins(self) -> Plugins:
        """What is loaded, in use or not."""
        return self.setup.plugins

    def validators(self) -> list[tuple[str, KeyValidator]]:
        """The validators in use, by backend name, in the order in which they are asked."""
        return [(chosen.backend.name, self._make("validator", chosen)) for chosen in self.setup.validators]

    def stores(self) -> list[tuple[str, AssistantStore]]:
        """The assistant stores in use, by backend name, in the order in which they are asked."""
        return [(chosen.backend.name, self._make("store", chosen)) for chosen in self.setup.stores]

    def _make(self, kind: str, chosen: Chosen) -> Any:
        slot = (kind, chosen.backend.name)
        with self._making:
            if slot not in self._made:
                try:
                    self._made[slot] = chosen.backend.factory(dict(chosen.settings))
                except BackendError:
                    raise
                except Exception as error:
                    raise BackendError(f"{chosen.backend.name}: {type(error).__name__}") from error
            return self._made[slot]

    @cached_property
    def key_ring(self) -> KeyRing:
        """Finds whose API key it is."""
        return KeyRing(self.validators())

    @cached_property
    def assistants(self) -> Assistants:
        """Finds the assistant that a caller may use."""
        return Assistants(self.stores())

    @cached_property
    def calls(self) -> Calls:
        """Places calls."""
        return Calls(self.config, self.assistants, Rooms(self.livekit, self.config.call))

    @cached_property
    def readiness(self) -> Readiness:
        """Tells whether calls can be served now."""
        pings = [*self.validators(), *self.stores()]
        return Readiness(self.livekit, pings, patience_s=self.config.livekit.timeout_s + 1)

    def use_threads(self, threads: int) -> None:
        """Tell how many request threads this worker has."""
        self.gate.resize(threads)

    def warm_up(self) -> None:
        """Make the backends before the first request. One that fails is made again by a request."""
        try:
            _ = self.calls, self.key_ring, self.readiness
        except BackendError as error:
            log.error("backend cannot be made", error=str(error))

    def close(self) -> None:
        """Give back connections and threads; for the end of the process. What fails does so in the log."""
        with self._making:
            made, self._made = list(self._made.values()), {}
        for part in (self.livekit, *made):
            if isinstance(part, Closes):
                try:
                    part.close()
                except Exception as error:
                    log.error("cannot be closed", part=type(part).__name__, **describe(error))
