"""The worker's main process: takes jobs, gives each a process of its own, and stops in good order."""

from __future__ import annotations

import asyncio
import math
import os
import signal
from functools import partial

import structlog
from livekit.agents import AgentServer, JobContext, JobExecutorType, JobProcess, JobRequest, inference
from livekit.agents.utils import http_context
from livekit.rtc._ffi_client import FfiClient
from prometheus_client import Gauge

from webcall import logs
from webcall.config.settings import Config
from webcall.core.cores import cores
from webcall.core.model_table import DEMO
from webcall.core.worker_metrics import MOST_CALLS, WORKS_FOR
from webcall.worker import capacity
from webcall.worker.ahead import import_ahead
from webcall.worker.call import Call
from webcall.worker.demo.stt import DemoSTT
from webcall.worker.demo.tts import DemoTTS
from webcall.worker.first_sound import keep_audible
from webcall.worker.models import modules_ahead
from webcall.worker.rtc_events import keep_all_events

_FULL = 0.6

# Until a call is heard, mostly. A process that starts beside it takes its cores.
_BEGINNING_S = 1.0

# A name: what it does when it is imported is for the process that the others are forked from.
_REHEARSED = "webcall.worker.rehearsed"

# LiveKit may be away for as long as it takes; the worker goes on asking.
_FOR_EVER = 1_000_000_000

log = structlog.stdlib.get_logger("webcall.worker")

# Beside livekit-agents' own numbers, in their registry.
_most_calls = Gauge(MOST_CALLS, "Calls that this worker takes at once", multiprocess_mode="max")
_works_for = Gauge(WORKS_FOR, "The LiveKit that this worker works for", ["url"], multiprocess_mode="max")


class Worker:
    """One worker: the server of livekit-agents with this project's rules about load."""

    def __init__(self, config: Config) -> None:
        self.server = AgentServer(
            job_executor_type=JobExecutorType.PROCESS,
            ws_url=config.livekit.url,
            api_key=config.livekit.api_key,
            api_secret=config.livekit.api_secret,
            max_retry=_FOR_EVER,
            # The server offers nothing to a worker whose load is 1: it is kept below, and jobs that do
            # not fit are refused one by one.
            load_fnc=self.load,
            load_threshold=math.inf,
            num_idle_processes=config.worker.idle_processes,
            shutdown_process_timeout=20.0,
            host=config.worker.host,
            port=config.worker.health_port,
            prometheus_port=config.worker.metrics_port,
            setup_fnc=partial(_prepare_process, config),
            # Imported once for all processes, and rehearsed. A model's plugin would keep a person waiting for
            # up to a second, and this module a call that begins while the next process starts beside it.
            preload_modules=[__name__, import_ahead([*modules_ahead(config.worker), _REHEARSED])],
        )
        self.server.rtc_session(
            partial(_run_call, config),
            agent_name=config.livekit.agent_name,
            on_request=self.answer,
            on_session_end=_stop_call,
        )
        self.server.on("worker_registered", self._registered)
        self.calls = capacity.calls_that_fit(
            config.worker.max_calls,
            cores=cores(),
            available_mb=capacity.available_mb(),
        )
        _most_calls.set(self.calls)
        _works_for.labels(config.livekit.http_url).set(1)
        self._agent_name = config.livekit.agent_name
        self._drain_s = config.worker.drain_s
        self._accepting: set[str] = set()
        self._idle = config.worker.idle_processes
        self._beginning: asyncio.TimerHandle | None = None

    def load(self) -> float:
        """Return the share of the calls that this worker takes, as LiveKit has to see it.

        A worker whose load is above livekit-server's target (`agents.target_load`, 0.7) is offered
        nothing, while places are left: so a full one is below it, and refuses the rest itself.
        """
        return min(len(self.server.active_jobs) / self.calls, 1) * _FULL

    async def answer(self, request: JobRequest) -> None:
        """Accept a job, or leave it to another worker while this one is full."""
        # A job that is being accepted may run already.
        busy = len(self._accepting | {running.job.id for running in self.server.active_jobs})
        if busy >= self.calls or not capacity.memory_for_one_more():
            log.warning(
                "call refused", busy=busy, takes=self.calls, available_mb=int(capacity.available_mb())
            )
            await request.reject(terminate=False)
            return
        self._accepting.add(request.id)
        self._let_it_begin()
        try:
            await request.accept()
        finally:
            self._accepting.discard(request.id)

    def _let_it_begin(self) -> None:
        """Do with one idle process less for a moment, where others are left for the next calls."""
        if self._idle > 1 and self._beginning is None:
            self.server._proc_pool.set_target_idle_processes(self._idle - 1)
            self._beginning = asyncio.get_running_loop().call_later(_BEGINNING_S, self._it_has_begun)

    def _it_has_begun(self) -> None:
        self._beginning = None
        self.server._proc_pool.set_target_idle_processes(self._idle)

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT; then take no new call, and let those that run go on for a while.

        A second signal ends everything at once. Raises what made livekit-agents' server fail.
        """
        asked = asyncio.Event()
        loop = asyncio.get_running_loop()

        def ask() -> None:
            if asked.is_set():
                os._exit(1)
            asked.set()

        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, ask)
        working = asyncio.create_task(self.server.run())
        stopping = asyncio.create_task(asked.wait())
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if working.done():
            await working
            return
        log.info("stopping", calls=len(self.server.active_jobs))
        try:
            # Zero would mean for ever to livekit-agents.
            await self.server.drain(timeout=max(self._drain_s, 1))
        except TimeoutError:
            log.warning("calls cut off", calls=len(self.server.active_jobs))
        await self.server.aclose()
        await working

    def _registered(self, worker_id: str, *_: object) -> None:
        log.info("worker registered", agent_name=self._agent_name, worker_id=worker_id, takes=self.calls)


def _prepare_process(config: Config, process: JobProcess) -> None:
    """Make a process ready for a call, before there is one."""
    # Written from here: what livekit-agents would send to the main process holds exceptions' texts.
    logs.configure(config.log)
    keep_all_events()
    keep_audible()
    _read_certificates()
    # Its threads are started, which the room would wait for.
    _ = FfiClient.instance
    process.userdata["ears"] = inference.VAD(model="silero")
    # Neither raises: a process without the demo's ears still takes typed chats and other models.
    if config.worker.tts == DEMO.name:
        DemoTTS().prewarm()
    if config.worker.stt == DEMO.name:
        DemoSTT().prewarm()


def _read_certificates() -> None:
    # Kept for the process: a call's first request to LiveKit's API would wait for them.
    async def open_session() -> None:
        async with http_context.open():
            return

    asyncio.run(open_session())


async def _run_call(config: Config, context: JobContext) -> None:
    structlog.contextvars.bind_contextvars(room=context.job.room.name, job=context.job.id)
    call = Call(context, config.worker, context.proc.userdata.get("ears"))
    await call.join()
    context.proc.userdata["call"] = call
    # Not awaited: livekit-agents waits 15 s for this function when it stops, before anything is told.
    context.proc.userdata["running"] = asyncio.create_task(call.run())


async def _stop_call(context: JobContext) -> None:
    call = context.proc.userdata.get("call")
    if isinstance(call, Call):
        await call.stop()
