"""A person at the playground, in a real Chromium, and what they can see there."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import os
import threading
import wave
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from livekit import api
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright

from tests.support.deployment import KEY
from tests.support.livekit import LiveKitServer
from webcall.core.tokens import mint
from webcall.worker.demo import espeak, tts

METADATA: dict[str, Any] = {"customer": {"name": "Ada"}}

# Chromium's own bounds are for pages that nobody drives: sound without a click, LiveKit on loopback.
FLAGS = (
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
)
# Told by the console, so that one place collects all that is wrong with a page.
_TELL_VIOLATIONS = """addEventListener("securitypolicyviolation", (event) => {
  console.error(`policy violated: ${event.violatedDirective} ${event.blockedURI}`);
});"""
_ENTRIES = """() => [...document.querySelectorAll("#transcript .entry")].map((entry) => ({
  from: entry.dataset.from,
  typed: entry.dataset.typed === "true",
  final: entry.dataset.final === "true",
  code: entry.dataset.code,
  who: entry.querySelector(".who").textContent,
  words: entry.querySelector(".words").textContent,
}))"""
_SAID = """([from, pattern, count]) => {
  const wanted = new RegExp(pattern, "i");
  const entries = [...document.querySelectorAll(`#transcript .entry[data-from=${from}]`)];
  return entries.filter((entry) => wanted.test(entry.querySelector(".words").textContent)).length >= count;
}"""
_LOUDEST = """async (withinMs) => {
  const audio = document.querySelector("#voices audio");
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  context.createMediaStreamSource(audio.srcObject).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const end = performance.now() + withinMs;
  let loudest = 0;
  while (loudest < 0.05 && performance.now() < end) {
    analyser.getFloatTimeDomainData(samples);
    loudest = Math.max(loudest, ...samples.map(Math.abs));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await context.close();
  return audio.paused || audio.muted ? 0 : loudest;
}"""


@dataclass
class Browsers:
    """Chromiums, one for each sound that their microphone plays."""

    playwright: Playwright
    program: Path
    _running: dict[Path, Browser] = field(default_factory=dict)

    def with_microphone(self, sound: Path) -> Browser:
        """Return a browser whose microphone plays a WAV once, from the moment in which it is opened."""
        if sound not in self._running:
            # Chromium's sandbox does not work for root.
            flags = [*FLAGS, *([] if os.geteuid() else ["--no-sandbox"])]
            flags.append(f"--use-file-for-fake-audio-capture={sound}%noloop")
            self._running[sound] = self.playwright.chromium.launch(
                executable_path=self.program, args=flags, timeout=60_000
            )
        return self._running[sound]

    def close(self) -> None:
        """End them."""
        for browser in self._running.values():
            browser.close()


@dataclass
class Visitor:
    """A person at the playground of `service`, an address. `faults` is what was wrong with the page."""

    page: Page
    service: str
    faults: list[str] = field(default_factory=list)

    @classmethod
    def enter(cls, context: BrowserContext, service: str) -> Visitor:
        """Open an empty page that is watched for errors."""
        context.set_default_timeout(20_000)
        page = context.new_page()
        visitor = cls(page, service)
        page.add_init_script(_TELL_VIOLATIONS)
        page.on("console", visitor._console)
        page.on("pageerror", lambda error: visitor.faults.append(f"{error.name}: {error.message}"))
        return visitor

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            # Chrome's own lines hold a failed connection's whole address, token included.
            self.faults.append(message.text.partition("?")[0])

    def forgive(self, *beginnings: str) -> None:
        """Leave out the lines of Chrome itself, which cannot be held back, that begin so.

        Fails if none was there: then nothing has to be forgiven.
        """
        forgiven = [fault for fault in self.faults if fault.startswith(beginnings)]
        assert forgiven, "nothing to forgive"
        self.faults = [fault for fault in self.faults if fault not in forgiven]

    def open(self, link: str = "") -> None:
        """Open the playground, or a link to a call."""
        self.page.goto(link or f"{self.service}/playground")

    def fill(
        self,
        assistant: str = "helper",
        metadata: Any = METADATA,
        *,
        text_only: bool = False,
        api_key: str = KEY,
    ) -> None:
        """Fill the form as a person does."""
        page = self.page
        page.fill("#api-key", api_key)
        page.press("#api-key", "Tab")
        page.locator(f"#assistant option[value={assistant}]").wait_for(state="attached")
        page.select_option("#assistant", assistant)
        page.fill("#metadata", json.dumps(metadata))
        page.set_checked("#text-only", text_only)

    def call(self, assistant: str = "helper", metadata: Any = METADATA, *, text_only: bool = False) -> None:
        """Open the playground, start a call and return when it is joined."""
        self.open()
        self.fill(assistant, metadata, text_only=text_only)
        self.page.click("#start")
        self.until_state("joined")

    @property
    def room(self) -> str:
        """The room's name, as the page shows it."""
        return self.page.inner_text("#room")

    def type(self, text: str) -> None:
        """Type a message and send it."""
        self.page.fill("#message", text)
        self.page.press("#message", "Enter")

    def until_state(self, state: str, within_s: float = 20) -> None:
        """Wait for a state of the call."""
        self.page.locator(f"#state[data-state={state}]").wait_for(timeout=within_s * 1000)

    def until_assistant(self, state: str, within_s: float = 20) -> None:
        """Wait for a state of the assistant."""
        self.page.locator(f"#assistant-state[data-state={state}]").wait_for(timeout=within_s * 1000)

    def until_said(
        self, pattern: str, who: str = "assistant", *, count: int = 1, within_s: float = 20
    ) -> None:
        """Wait until so many entries of somebody hold a pattern. Fails with the whole transcript."""
        try:
            self.page.wait_for_function(_SAID, arg=[who, pattern, count], timeout=within_s * 1000)
        except Exception as error:
            raise AssertionError(
                f"{who} did not say {pattern!r} within {within_s} s: {self.entries()}"
            ) from error

    def entries(self) -> list[dict[str, Any]]:
        """Return the transcript as it stands."""
        found: list[dict[str, Any]] = self.page.evaluate(_ENTRIES)
        return found

    def words(self, who: str = "assistant") -> list[str]:
        """Return what somebody has said and typed."""
        return [entry["words"] for entry in self.entries() if entry["from"] == who]

    def notice(self, code: str, within_s: float) -> str:
        """Wait for the words of a failure, or of the call's end, and return them."""
        place = self.page.locator(f"#notice[data-code={code}]")
        try:
            place.wait_for(timeout=within_s * 1000)
        except Exception as error:
            told = self.page.inner_text("body") + self.page.inner_text("#log", timeout=1000)
            raise AssertionError(f"no {code} within {within_s} s: {told}") from error
        return place.inner_text()

    def log(self) -> str:
        """Return the page's event log."""
        return self.page.text_content("#log") or ""

    def leave(self) -> None:
        """Hang up, where there is a call, and close the page: an assistant waits for whoever drops out."""
        if self.page.locator("#hangup").is_visible():
            self.page.click("#hangup")
            self.page.locator("#state:is([data-state=ended], [data-state=failed])").wait_for()
        self.page.context.close()

    def timing(self, name: str) -> int:
        """Return one of the page's times, in milliseconds."""
        told = self.page.locator(f"#timings [data-timing={name}][data-ms]")
        return int(told.get_attribute("data-ms") or "")

    def loudest(self, within_s: float = 15) -> float:
        """Return the peak, 0 to 1, of what the page plays of the assistant; ends with the first sound."""
        self.page.locator("#voices audio").wait_for(state="attached")
        peak: float = self.page.evaluate(_LOUDEST, within_s * 1000)
        return peak


def playground_link(service: str, server: LiveKitServer, room: str, token: str) -> str:
    """Return the link that opens the playground on a call."""
    call = {"room_name": room, "token": token, "server_url": server.url}
    text = base64.urlsafe_b64encode(json.dumps(call).encode()).decode().rstrip("=")
    return f"{service}/playground#call={text}"


def token_for(
    server: LiveKitServer, room: str, *, age: timedelta = timedelta(), identity: str = "guest"
) -> str:
    """Return a token of 60 s that was signed `age` ago."""
    return mint(
        api_key=server.key,
        api_secret=server.secret,
        room=room,
        identity=identity,
        text_only=False,
        ttl=timedelta(seconds=60),
        now=datetime.now(UTC) - age,
    ).jwt


def ask(server: LiveKitServer, question: Callable[[api.LiveKitAPI], Coroutine[Any, Any, Any]]) -> Any:
    """Ask the server's API; in a thread, since Playwright has this one's event loop."""
    answers: list[Any] = []

    async def run() -> None:
        async with server.api() as client:
            answers.append(await question(client))

    asking = threading.Thread(target=asyncio.run, args=[run()])
    asking.start()
    asking.join(20)
    [answer] = answers
    return answer


def participants(server: LiveKitServer, room: str) -> list[Any]:
    """Return who is in a room, as the server has it."""
    found = ask(server, lambda client: client.room.list_participants(api.ListParticipantsRequest(room=room)))
    return list(found.participants)


def write_sound(path: Path, texts: Sequence[tuple[float, str]], *, length_s: float = 0) -> Path:
    """Write a WAV in which the demo's voice speaks each text at its second, with silence at the end."""
    parts = [(round(at_s * espeak.SAMPLE_RATE), tts.synthesize(text)) for at_s, text in texts]
    ends = [start + len(sound) // 2 for start, sound in parts]
    samples = max([math.ceil(length_s * espeak.SAMPLE_RATE), *(end + 2 * espeak.SAMPLE_RATE for end in ends)])
    whole = bytearray(2 * samples)
    for start, sound in parts:
        assert not any(whole[2 * start : 2 * start + len(sound)]), "two texts overlap"
        whole[2 * start : 2 * start + len(sound)] = sound
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(espeak.SAMPLE_RATE)
        file.writeframes(bytes(whole))
    return path


def fail_with(faults: Sequence[str]) -> None:
    """Fail if a page had something to complain about."""
    if faults:
        pytest.fail("the page's console: " + "\n".join(faults), pytrace=False)
