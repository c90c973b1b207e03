"""The stages of one call, from the click to the first sound, as the page and the models' stand-in see it."""

from __future__ import annotations

from typing import Any

from benchmarks.processes import wait_for_quiet
from tests.support.browser import METADATA, Visitor
from tests.support.openai_stub import OpenAIStub

# In the order in which they are printed; of each call, in milliseconds from the click.
STAGES = ("token", "joined", "assistant", "model asked", "voice asked", "subscribed", "word", "sound")

# The page's own measure looks every 50 ms. This one hears each 256 samples, as the browser would play them.
MARKS = """
const marks = (window.marks = {});
const mark = (name) => (marks[name] ??= performance.timeOrigin + performance.now());
addEventListener("click", ({ target }) => target.id === "start" && mark("click"), true);
const ask = window.fetch;
window.fetch = async (...given) => {
  const answer = await ask(...given);
  if (String(given[0]).includes("get_token")) mark("token");
  return answer;
};
const Usual = window.RTCPeerConnection;
window.RTCPeerConnection = class extends Usual {
  constructor(...given) {
    super(...given);
    this.addEventListener("track", ({ track }) => track.kind === "audio" && hear(track));
  }
};
function hear(track) {
  track.addEventListener("unmute", () => mark("subscribed"));
  const context = new AudioContext();
  const ear = context.createScriptProcessor(256, 1, 1);
  ear.onaudioprocess = ({ inputBuffer }) => {
    if (inputBuffer.getChannelData(0).some((sample) => Math.abs(sample) > 0.01)) mark("sound");
  };
  context.createMediaStreamSource(new MediaStream([track])).connect(ear).connect(context.destination);
}
addEventListener("DOMContentLoaded", () => {
  for (const place of document.querySelectorAll("#timings [data-timing]")) {
    new MutationObserver(() => mark(place.dataset.timing)).observe(place, { attributeFilter: ["data-ms"] });
  }
});
"""


def call(visitor: Visitor, assistant: str, api_key: str, models: OpenAIStub) -> dict[str, float]:
    """Make one call at the playground, whose page has `MARKS`; return the milliseconds to each stage.

    The click comes when the machine is quiet: the process of the call before ends, and the one that takes its
    place begins, for seconds after it.
    """
    models.requests.clear()
    visitor.open()
    visitor.fill(assistant, METADATA, api_key=api_key)
    wait_for_quiet()
    visitor.page.click("#start")
    visitor.page.wait_for_function("() => marks.sound && marks.word", timeout=60_000)
    marks: dict[str, Any] = visitor.page.evaluate("() => marks")
    for name, route in (("model asked", "chat"), ("voice asked", "speech")):
        marks[name] = next(one.at for one in models.requests if one.route == route) * 1000
    return {stage: marks[stage] - marks["click"] for stage in STAGES}
