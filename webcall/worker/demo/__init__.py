"""The demo's models: rules for a mind, espeak-ng for a voice, pocketsphinx for ears. No network at all.

An assistant whose models are `demo` runs on these, so that a fresh checkout answers without an account.
What the demo understands stands in one table, `topics.RULES`: the rules answer by it, and the grammar of
the ears is made of it.
"""

from webcall.worker.demo.llm import DemoLLM
from webcall.worker.demo.stt import DemoSTT
from webcall.worker.demo.tts import DemoTTS

__all__ = ["DemoLLM", "DemoSTT", "DemoTTS"]
