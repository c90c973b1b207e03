"""The watcher's process: its event loop, and what it answers by HTTP.

aiohttp serves it: it is there for LiveKit's client, and the watcher's loop is asyncio's. The service's
own addresses of these names behave the same (`webcall/http/webhook.py`, `webcall/http/metrics.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import signal

import structlog
from aiohttp import web

from webcall.config.settings import Config
from webcall.core.livekit import LiveKit
from webcall.core.livekit_rooms import OpenRooms
from webcall.core.room_events import RoomEvents
from webcall.core.watch.claims import OnlyWatcher, claims_for
from webcall.core.watch.counters import WatchCounters
from webcall.core.watch.hardening import PATIENCE_S, HardenedRunner, answer, on_every_answer
from webcall.core.watch.watcher import Watcher
from webcall.errors import Unauthorized, WebCallError

log = structlog.stdlib.get_logger("webcall.watch")

WEBHOOK = "/livekit/webhook"
# As the service's own limit of a body.
_MOST_BYTES = 64 * 1024
_ENDING_S = 0.5
_SETTLING_S = 0.1


async def watch(config: Config, livekit: LiveKit) -> None:
    """Watch until SIGTERM or SIGINT. Raises `WebCallError` if the address cannot be listened on."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, asked.set)
    counters = WatchCounters()
    claims = claims_for(config.limits.storage_uri)
    watcher = Watcher(OpenRooms(livekit), config.watch, claims, counters)
    events = RoomEvents(config.livekit, lambda: livekit.now().timestamp())
    events.subscribe(watcher.on_event)
    runner = make_runner(events, counters, config.http.metrics_token, config.livekit.http_url)
    await runner.setup()
    try:
        host, port = config.watch.address
        try:
            await web.TCPSite(runner, host or None, port).start()
        except OSError as error:
            # asyncio puts words of its own around the system's.
            told = os.strerror(error.errno).lower() if error.errno else "cannot be used"
            raise WebCallError(f"watch.bind: {config.watch.bind}: {told}") from None
        log.info("watching", bind=config.watch.bind, alone=isinstance(claims, OnlyWatcher))
        running = asyncio.create_task(watcher.run())
        stopping = asyncio.create_task(asked.wait())
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in (running, stopping):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        log.info("stopped watching")
    finally:
        await stop_serving(runner)
        await claims.close()


def make_runner(
    events: RoomEvents,
    counters: WatchCounters,
    metrics_token: str,
    livekit_url: str,
    patience_s: float = PATIENCE_S,
) -> web.AppRunner:
    """Return what serves LiveKit's events, health and metrics, when it is set up and given an address."""
    app = _make_app(events, counters, metrics_token, livekit_url, patience_s)
    # By default it would wait a minute for LiveKit's connections, which are kept alive.
    return HardenedRunner(app, patience_s, shutdown_timeout=_ENDING_S)


async def stop_serving(runner: web.AppRunner) -> None:
    """Close the address and all connections."""
    for site in list(runner.sites):
        await site.stop()
    # aiohttp waits in vain for one that was taken a moment ago and has no handler yet (seen with 3.14).
    await asyncio.sleep(_SETTLING_S)
    await runner.cleanup()


def _make_app(
    events: RoomEvents, counters: WatchCounters, metrics_token: str, livekit_url: str, patience_s: float
) -> web.Application:

    async def webhook(request: web.Request) -> web.Response:
        signature = request.headers.get("Authorization", "")
        try:
            if not signature:
                raise Unauthorized
            async with asyncio.timeout(patience_s):
                body = await request.read()
            events.receive(body, signature)
        except Unauthorized:
            return answer(401, "The signature is missing or not valid.", {"WWW-Authenticate": "Bearer"})
        except WebCallError:
            return answer(503, "The event could not be followed. Send it again.", {"Retry-After": "1"})
        return answer(200, "Event taken")

    async def health(_: web.Request) -> web.Response:
        swept = round(counters.sweep_age_s(), 1) if counters.has_swept else None
        told = {"last_sweep_s": swept, "events": counters.events_taken, "calls": counters.calls_seen}
        return answer(200, "The watcher runs", data={"livekit": livekit_url, **told})

    async def metrics(request: web.Request) -> web.Response:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        # What is no UTF-8 comes from aiohttp in surrogates.
        token = given.encode("utf-8", "surrogateescape")
        good = scheme.lower() == "bearer" and hmac.compare_digest(token, metrics_token.encode())
        if metrics_token and not good:
            return answer(401, "The metrics token is missing or not valid.", {"WWW-Authenticate": "Bearer"})
        return web.Response(body=counters.exposition(), headers={"Content-Type": counters.CONTENT_TYPE})

    app = web.Application(client_max_size=_MOST_BYTES, middlewares=[on_every_answer])
    app.router.add_post(WEBHOOK, webhook)
    app.router.add_get("/health", health)
    app.router.add_get("/metrics", metrics)
    return app
