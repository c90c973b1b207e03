"""What a rule is, and how one is chosen: the mind of the demo without what it knows. Pure.

A rule has a pattern, for what is typed and heard, and phrases, of which the ears' grammar is made. A test
sees to it that each phrase meets its own rule.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

INPUT_LENGTH = 400
ANSWER_LENGTH = 600


@dataclass(frozen=True, slots=True)
class Scene:
    """What an answer may depend on. `said` are the demo's own earlier words, the oldest first."""

    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)
    assistant_name: str = ""
    text_only: bool = False
    said: Sequence[str] = field(default=(), repr=False)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def choose(self, variants: Sequence[str]) -> str:
        """Return the variant that was said least often, so that an answer seldom comes twice in a row."""
        return min(variants, key=self.said.count)


@dataclass(frozen=True, slots=True)
class Heard:
    """What the person said: `text` as it came, `found` the match of the rule's pattern."""

    text: str
    found: re.Match[str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the demo says, by which rule, and whether it ends the call then."""

    text: str
    rule: str
    ends: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that the demo understands.

    `answer` is a fixed text, several that take turns, or a function; a function that returns None leaves
    the text to the next rule. `phrases` are what can be spoken, with the grammar's `<slots>`.
    """

    name: str
    pattern: re.Pattern[str]
    answer: Sequence[str] | Callable[[Heard, Scene], str | None]
    phrases: Sequence[str] = ()
    ends: bool = False


# What opens many a sentence and changes none.
_LEAD = re.compile(r"^(?:(?:hey|okay|ok|so|um|uh|and|please) )+(?=\w)")


def any_of(*alternatives: str) -> re.Pattern[str]:
    """Return a pattern that finds any of the alternatives, regular expressions over plain text."""
    return re.compile("|".join(alternatives))


def plain(text: str) -> str:
    """Return a text as the patterns expect it: lower case, one blank between words, no
    punctuation, and nothing like `okay` before the rest.
    """
    folded = (
        unicodedata.normalize("NFKC", text[:INPUT_LENGTH])
        .lower()
        .replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    )
    words = " ".join(re.sub(r"[^\w\s'+*/\u00d7\u00f7-]|(?<!\w)'|'(?!\w)", " ", folded).split())
    return _LEAD.sub("", words)


def answer(rules: Sequence[Rule], text: str, scene: Scene) -> Answer | None:
    """Return what the first rule that understands the text says, or None if none does."""
    short = text[:INPUT_LENGTH]
    words = plain(short)
    for rule in rules:
        found = rule.pattern.search(words)
        if found is None:
            continue
        given = (
            rule.answer(Heard(short, found), scene) if callable(rule.answer) else scene.choose(rule.answer)
        )
        if given is not None:
            return Answer(given[:ANSWER_LENGTH], rule.name, rule.ends)
    return None
