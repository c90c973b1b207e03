"""The section of the worker."""

from __future__ import annotations

from marshmallow import validate

from webcall.config.fields import Names, optional_web_address, unspaced
from webcall.config.section import Section, text, whole
from webcall.config.settings import WorkerConfig


class WorkerSection(Section):
    """`worker:`"""

    MAKES = WorkerConfig

    llm = text(
        "the language model of assistants that name none: `provider/model`, a provider, or `demo`",
        load_default="demo",
        validate=unspaced,
    )
    stt = text("the same for speech to text", load_default="demo", validate=unspaced)
    tts = text("the same for text to speech", load_default="demo", validate=unspaced)
    realtime = text(
        "the model of assistants in mode `realtime` that name none",
        load_default="openai/gpt-realtime",
        validate=unspaced,
    )
    openai_base_url = text(
        "an OpenAI-compatible server in place of OpenAI's own, for all `openai` models",
        load_default="",
        validate=optional_web_address,
    )
    allow_in_definitions = Names(
        load_default=(),
        validate=validate.ContainsOnly(["api_key", "base_url"], error="names more than api_key and base_url"),
        metadata={
            "description": "what a definition may set itself, `api_key`, `base_url`; "
            "its author could make the worker call internal addresses"
        },
    )
    max_calls = whole(0, 0, 10000, "calls at once in one worker; 0: by its cores and memory")
    idle_processes = whole(2, 0, 64, "processes kept ready for the next calls")
    drain_s = whole(900, 0, 86400, "how long calls may go on after SIGTERM, in seconds")
    host = text("address of the worker's health and metrics", load_default="127.0.0.1", validate=unspaced)
    health_port = whole(8081, 0, 65535, "port of the worker's health; 0: any free one")
    metrics_port = whole(8082, 0, 65535, "port of the worker's metrics; 0: any free one")
    chat_max_bytes = whole(4000, 1, 65536, "the longest typed message, in bytes of UTF-8")
    chat_per_minute = whole(30, 1, 6000, "typed messages a minute and call")
    chat_max_turns = whole(500, 1, 100000, "typed messages a call")
