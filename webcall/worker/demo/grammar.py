"""The grammar of the demo's ears, made of the rules' phrases. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from webcall.worker.demo.numbers import SPOKEN
from webcall.worker.demo.topics import RULES

SLOTS: dict[str, Sequence[str]] = {
    "number": SPOKEN,
    "name": ("ada", "grace", "alan", "mary", "robert", "peter"),
    "word": ("hello", "assistant", "banana", "water", "london"),
    "words": ("hello world", "good morning everybody", "the quick brown fox", "i like talking to you"),
}
LEADS = ("hey", "okay")


def phrases() -> list[str]:
    """Return every phrase of every rule, with its slots."""
    return [phrase for rule in RULES for phrase in rule.phrases]


def words() -> set[str]:
    """Return every word that can be heard."""
    texts = [*phrases(), *LEADS, *(text for texts in SLOTS.values() for text in texts)]
    return set(re.sub(r"<\w+>", " ", " ".join(texts)).split())


def jsgf() -> str:
    """Return the grammar in JSGF, the form that pocketsphinx reads (https://www.w3.org/TR/jsgf/)."""
    slots = "".join(f"<{name}> = {' | '.join(texts)};\n" for name, texts in SLOTS.items())
    return (
        f"#JSGF V1.0;\ngrammar demo;\n{slots}<lead> = {' | '.join(LEADS)};\n"
        f"public <utterance> = [<lead>] ({' | '.join(phrases())});\n"
    )


def whole() -> re.Pattern[str]:
    """Return a pattern of whole sentences: a search that gave up halfway leaves half ones."""
    slots = {name: f"(?:{'|'.join(texts)})" for name, texts in SLOTS.items()}
    bodies = (re.sub(r"<(\w+)>", lambda slot: slots[slot[1]], phrase) for phrase in phrases())
    return re.compile(f"(?:(?:{'|'.join(LEADS)}) )?(?:{'|'.join(bodies)})")
