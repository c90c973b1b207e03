"""What one worker process needs to serve calls, each part made at its first use, after the fork."""

from __future__ import annotations

import threading
from functools import cached_property
from itertools import product
from typing import Any, Literal, TypeVar, cast

import structlog

from webcall.core.cache import Cache, CachedStore, CachedValidator
from webcall.core.calls import Calls
from webcall.core.counters import Counters
from webcall.core.gate import Gate
from webcall.core.leases import Leases, LeaseStore
from webcall.core.leases_in_memory import MemoryLeases
from webcall.core.ledger import Ledger, LedgerStore
from webcall.core.ledger_in_memory import MemoryLedger
from webcall.core.listing import Listing
from webcall.core.livekit import LiveKit
from webcall.core.lookup import Assistants, KeyRing
from webcall.core.observers import CREATED, ENDED, REFUSED, Observer, Observers
from webcall.core.readiness import Readiness
from webcall.core.room_events import RoomEvents
from webcall.core.rooms import Rooms
from webcall.core.stages import Stages
from webcall.core.storage import LimitsStorage, StorageHealth, in_memory
from webcall.core.traces import Traces
from webcall.errors import BackendError
from webcall.interfaces import AssistantStore, Closes, KeyValidator
from webcall.logs import describe
from webcall.plugin_manager import Plugins
from webcall.startup import Chosen, Setup, choose

T = TypeVar("T")

log = structlog.stdlib.get_logger("webcall.services")

KNOWN_S = 10.0
"""For so long it is known who answers, as far as the metrics go."""


class _once(cached_property[T]):  # used like a decorator of functools
    """A `cached_property` that is made once even where threads ask for it at the same time."""

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> T:  # type: ignore[override]
        if instance is None:
            return cast(T, self)
        with instance.making:
            # Another thread may have made it while this one waited.
            if self.attrname in instance.__dict__:
                return cast(T, instance.__dict__[self.attrname])
            return cast(T, super().__get__(instance, owner))


class Services:
    """The parts of a running service. Making it opens nothing."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.config = setup.config
        self.counters = Counters()
        self.traces = Traces(setup.config.traces) if setup.config.traces.endpoint else None
        self.stages = Stages(self.counters.stages, self.traces.stage if self.traces else None)
        self.gate = Gate(setup.config.http.threads, self.counters.in_flight)
        self.livekit = LiveKit(setup.config.livekit, self.counters.livekit_away)
        self.making = threading.RLock()
        self._seeing = threading.Lock()
        self._closed = False
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

    def side(self, side: Literal["validators", "stores"], name: str) -> Any:
        """Return one side of a backend, in use or not. Raises `ConfigError` and `BackendError`."""
        kind = "validator" if side == "validators" else "store"
        return self._make(kind, choose(self.setup, side, name))

    def _make(self, kind: str, chosen: Chosen) -> Any:
        slot = (kind, chosen.backend.name)
        with self.making:
            if slot not in self._made:
                try:
                    self._made[slot] = chosen.backend.factory(dict(chosen.settings))
                except BackendError:
                    raise
                except Exception as error:
                    raise BackendError(f"{chosen.backend.name}: {type(error).__name__}") from error
            return self._made[slot]

    def _cache(self, side: str, chosen: Chosen) -> Cache[Any] | None:
        if not chosen.cache.keeps:
            return None
        return Cache(chosen.cache, backend=chosen.backend.name, side=side, counters=self.counters)

    @_once
    def key_ring(self) -> KeyRing:
        """Finds whose API key it is, where a backend has a cache by way of it."""
        ring: list[tuple[str, KeyValidator]] = []
        for chosen, (name, validator) in zip(self.setup.validators, self.validators(), strict=True):
            cache = self._cache("keys", chosen)
            ring.append((name, CachedValidator(validator, cache) if cache else validator))
        return KeyRing(ring, self.stages)

    @_once
    def assistants(self) -> Assistants:
        """Finds the assistant that a caller may use, where a backend has a cache by way of it."""
        shelf: list[tuple[str, AssistantStore]] = []
        for chosen, (name, store) in zip(self.setup.stores, self.stores(), strict=True):
            cache = self._cache("assistants", chosen)
            shelf.append((name, CachedStore(store, cache) if cache else store))
        return Assistants(shelf, self.stages)

    @_once
    def listing(self) -> Listing:
        """Lists the assistants that a caller may call."""
        return Listing(self.stores(), self.stages)

    @_once
    def calls(self) -> Calls:
        """Places calls."""
        rooms = Rooms(self.livekit, self.config.call, self.stages)
        return Calls(self.config, self.assistants, rooms, self.leases, self.ledger)

    @_once
    def storage_health(self) -> StorageHealth:
        """Knows whether the limits' storage answers."""
        count = self.counters.limits_storage_failures.inc
        return StorageHealth(required=self.config.limits.required, count=count, stages=self.stages)

    @_once
    def leases(self) -> Leases:
        """Counts live and waiting calls."""
        limits = self.config.limits
        store: LeaseStore = MemoryLeases()
        if not in_memory(limits.storage_uri):
            # Here alone the extra `redis` is needed.
            from webcall.core.leases_in_redis import RedisLeases

            store = RedisLeases(limits.storage_uri)
            self.storage_health.on_drop(store.drop_kept)
        return Leases(store, self.storage_health, limits, self.config.call)

    @_once
    def ledger(self) -> Ledger | None:
        """Knows of calls until their end; None where no plugin wants to be told of that."""
        if not self.observers.hear(ENDED):
            return None
        store: LedgerStore = MemoryLedger()
        if not in_memory(self.config.limits.storage_uri):
            from webcall.core.ledger_in_redis import RedisLedger

            store = RedisLedger(self.config.limits.storage_uri)
            self.storage_health.on_drop(store.drop_kept)
        return Ledger(store, self.storage_health, self.observers.ended, self.config.call).sweeping()

    @_once
    def room_events(self) -> RoomEvents:
        """Takes LiveKit's events, and tells whoever wants them."""
        events = RoomEvents(self.config.livekit, lambda: self.livekit.now().timestamp())
        events.subscribe(self.leases.on_event)
        if self.ledger is not None:
            events.subscribe(self.ledger.on_event)
        return events

    @_once
    def observers(self) -> Observers:
        """Tells plugins of calls."""
        hooks = self.plugins.hooks_of((CREATED, REFUSED, ENDED))
        events = self.counters.observer_events
        for plugin, result in product(hooks, ("told", "failed", "dropped")):
            # An alert on an increase sees the first one only where the line was there before.
            events.labels(plugin, result)
        return Observers(
            [Observer(plugin, its_hooks) for plugin, its_hooks in hooks.items()],
            count=lambda plugin, result: events.labels(plugin, result).inc(),
        )

    @_once
    def readiness(self) -> Readiness:
        """Tells whether calls can be served now."""
        pings: list[tuple[str, Any]] = [*self.validators(), *self.stores()]
        limits = self.config.limits
        if not in_memory(limits.storage_uri):
            pings.append(("limits", LimitsStorage(limits.storage_uri, required=limits.required)))
        return Readiness(
            self.livekit,
            pings,
            patience_s=self.config.livekit.timeout_s + 1,
            tell=lambda name, up: self.counters.backend_up.labels(name).set(up),
        )

    def see_who_answers(self) -> None:
        """Begin to ask for the metrics who answers, one asking at a time; return at once, whoever hangs."""
        if self._seeing.acquire(blocking=False):
            threading.Thread(target=self._see, name="who answers", daemon=True).start()

    def _see(self) -> None:
        try:
            self.readiness.state(KNOWN_S)
        except BackendError as error:
            log.error("backend cannot be made", error=str(error))
        finally:
            self._seeing.release()

    def use_threads(self, threads: int) -> None:
        """Tell how many request threads this worker has."""
        self.gate.resize(threads)

    def warm_up(self) -> None:
        """Make the backends before the first request, and hear LiveKit's clock. Failures are tried again."""
        if self.traces is not None:
            self.traces.start()
        try:
            _ = self.calls, self.key_ring, self.readiness, self.room_events
        except BackendError as error:
            log.error("backend cannot be made", error=str(error))
        self.livekit.hear_clock()

    def close(self) -> None:
        """Give back connections and threads; for the end of the process. What fails does so in the log."""
        if not self._closed:
            # Never released: an asking that came later would open again what is closed here.
            self._seeing.acquire(timeout=2)
            self._closed = True
        with self.making:
            made, self._made = list(self._made.values()), {}
        # The ledger tells observers of the last ends.
        kept = self.leases, self.storage_health
        for part in (self.livekit, self.ledger, self.observers, *kept, *made, self.traces):
            if isinstance(part, Closes):
                try:
                    part.close()
                except Exception as error:
                    log.error("cannot be closed", part=type(part).__name__, **describe(error))
