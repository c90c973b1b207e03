"""A call's beginning, played through without a network, so that those who come after are quick at it.

What Python and the libraries put off until it is needed takes a call some 40 ms of a core, just when a person
waits: types made for each request and answer, modules imported late, code that is quicker once it has run.

A server on a Unix socket, in the same thread, plays LiveKit's API and the models. It is for the process that
others are forked from, and leaves there no thread, no socket and no client of LiveKit's SDK.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
from livekit import api, rtc
from livekit.agents.utils import http_context
from livekit.agents.voice import io
from livekit.rtc._ffi_client import FfiClient

from webcall.config.worker_section import WorkerSection
from webcall.core.model_table import OPENAI
from webcall.worker.demo.llm import DemoLLM
from webcall.worker.job import CallJob, read_job
from webcall.worker.models import OPENAI_CLIENT, Models, make_models
from webcall.worker.session import Assistant, make_session

# It takes a fraction of a second, and a worker that cannot do it is to work all the same.
_WITHIN_S = 10.0
_ADDRESS = "http://rehearsal.invalid"
_DEFINITION = {"assistant_prompt": "Be brief.", "assistant_start_instruction": "Say hello."}
_METADATA = json.dumps({"web_call": {"version": 1, "assistant": _DEFINITION}})
_WORDS = ("Hello, ", "this is ", "a rehearsal. ", "How may I help you?")


def rehearse() -> None:
    """Play a call's beginning through. Raises whatever goes wrong in it, which harms no call."""
    with _no_sdk():
        asyncio.run(asyncio.wait_for(_rehearse(), _WITHIN_S))


async def _rehearse() -> None:
    with tempfile.TemporaryDirectory() as folder:
        socket = str(Path(folder) / "socket")
        server = await asyncio.start_unix_server(_answer, socket)
        # The session for HTTP keeps the authorities' certificates for the process.
        async with server, http_context.open():
            await _look_who_is_there(socket)
            job = read_job(_METADATA)
            await _greet(job, _openai(job, socket) if OPENAI.module in sys.modules else _demo())


async def _look_who_is_there(socket: str) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket)) as session:
        livekit = api.LiveKitAPI(_ADDRESS, "rehearsal", "rehearsal" * 4, session=session)
        await livekit.room.list_participants(api.ListParticipantsRequest(room="rehearsal"))


def _openai(job: CallJob, socket: str) -> Models:
    settings = replace(WorkerSection().load({}), llm=OPENAI.name, stt=OPENAI.name, tts=OPENAI.name)
    # Made as a call's are; those that are asked for something are made by hand, for the socket.
    make_models(job, replace(settings, openai_base_url=_ADDRESS))
    plugin: Any = importlib.import_module(OPENAI.module)
    client = importlib.import_module(OPENAI_CLIENT).patient_client("unused", _ADDRESS, socket=socket)
    return Models(llm=plugin.LLM(client=client), stt=None, tts=plugin.TTS(client=client))


def _demo() -> Models:
    return Models(llm=DemoLLM(metadata={}, assistant_name="", text_only=True), stt=None, tts=None)


async def _greet(job: CallJob, models: Models) -> None:
    assistant = Assistant(job, models, lambda: None)
    assistant.prepare_greeting(job, models)
    # Without ears, which have threads.
    session = make_session(replace(job, text_only=True), models, None)
    if models.tts is not None:
        session.output.audio = _Nowhere()
    await session.start(assistant, session_host=False, record=False)
    await session.generate_reply(instructions=job.opening)
    await session.aclose()


class _Nowhere(io.AudioOutput):
    """Takes sound as a room does, and has played it at once."""

    def __init__(self) -> None:
        super().__init__(label="rehearsal", capabilities=io.AudioOutputCapabilities(pause=True))
        self._taken_s = 0.0

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        self._taken_s += frame.duration

    def flush(self) -> None:
        super().flush()
        if self._taken_s:
            self.on_playback_started(created_at=0.0)
            self.on_playback_finished(playback_position=self._taken_s, interrupted=False)
            self._taken_s = 0.0

    def clear_buffer(self) -> None:
        """Forget nothing: what was taken has been played."""


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    lengths = [line.partition(":")[2] for line in head.splitlines() if line.startswith("content-length:")]
    await reader.readexactly(int(lengths[0]) if lengths else 0)
    sort, body = _content(head.split(" ", 2)[1])
    lines = ("HTTP/1.1 200 OK", f"Content-Type: {sort}", f"Content-Length: {len(body)}", "X-Request-Id: none")
    writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode() + body)
    await writer.drain()
    writer.close()


def _content(path: str) -> tuple[str, bytes]:
    if path.endswith("/chat/completions"):
        return "text/event-stream", b"".join([*map(_event, _WORDS), _event(None), b"data: [DONE]\n\n"])
    if path.endswith("/audio/speech"):
        return "audio/pcm", bytes(24_000)
    if path.endswith("/twirp/livekit.roomservice/listparticipants"):
        return "application/protobuf", b""
    return "application/json", b'{"object": "list", "data": []}'


def _event(word: str | None) -> bytes:
    delta = {} if word is None else {"role": "assistant", "content": word}
    choice = {"index": 0, "delta": delta, "finish_reason": "stop" if word is None else None}
    chunk = {"id": "rehearsal", "object": "chat.completion.chunk", "created": 0, "model": "rehearsal"}
    return f"data: {json.dumps(chunk | {'choices': [choice]})}\n\n".encode()


@contextlib.contextmanager
def _no_sdk() -> Iterator[None]:
    """See to it that the SDK's client is not made here: its threads would be missing in every process."""

    def refuse(self: FfiClient) -> None:
        raise RuntimeError("the rehearsal has come to LiveKit's SDK")

    usual = FfiClient.__init__
    FfiClient.__init__ = refuse  # type: ignore[method-assign]
    try:
        yield
    finally:
        FfiClient.__init__ = usual  # type: ignore[method-assign]
