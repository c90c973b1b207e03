"""The answers that are worked out: time, counting, spelling, sums, what the metadata holds. Pure."""

from __future__ import annotations

import re
import zoneinfo
from datetime import datetime

from webcall.worker.demo import person
from webcall.worker.demo.numbers import with_digits
from webcall.worker.demo.rules import Heard, Scene

WHAT_I_AM = "I am a demo: I follow rules, I am no language model."

COUNT_LENGTH = 30
REPEAT_LENGTH = 200
SPELL_LENGTH = 24


_SUM = re.compile(
    r"(?<![\d.])(\d{1,9}) ?"
    r"(plus|and|\+|minus|-|less|times|x|\*|\u00d7|multiplied by|divided by|over|/|\u00f7) ?"
    r"(\d{1,9})(?! ?[\d.+*/\u00d7\u00f7-])"
)


def _local(scene: Scene) -> tuple[datetime, str]:
    """Return the time where the metadata's `timezone` says that the person is, else in UTC."""
    for key in ("timezone", "time_zone", "timeZone"):
        zone = scene.metadata.get(key)
        if isinstance(zone, str) and re.fullmatch(r"[A-Za-z]+(/[A-Za-z_+-]+){1,2}", zone) and len(zone) < 40:
            try:
                return scene.now.astimezone(zoneinfo.ZoneInfo(zone)), f"in the time zone {zone}"
            except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
                continue
    return scene.now, "UTC"


def time(_: Heard, scene: Scene) -> str:
    """Tell the time of day, and in which time zone."""
    now, where = _local(scene)
    return f"It is {now:%H:%M} {where}."


def day(_: Heard, scene: Scene) -> str:
    """Tell the day, and in which time zone."""
    now, where = _local(scene)
    return f"It is {now:%A}, {now:%B} {now.day}, {now.year}, {where}."


def count(heard: Heard, _: Scene) -> str | None:
    """Count up or down between two numbers, thirty of them at most."""
    words = with_digits(heard.found.string)
    whole = re.search(
        r"count (?P<down>down |backwards? )?(?:from (\d{1,6}) )?(?:up |down )?(?:to|till|until) (\d{1,6})\b",
        words,
    )
    if whole:
        first, last = int(whole[2] or (10 if whole["down"] else 1)), int(whole[3])
    elif down := re.search(r"count (?:down|backwards?)(?: from (\d{1,6}))?", words):
        first, last = int(down[1] or 10), 1
    elif start := re.search(r"count from (\d{1,6})", words):
        first, last = int(start[1]), int(start[1]) + 9
    elif re.search(r"\bcount\b(?! on\b)(?: for me| something| please)?$", words):
        first, last = 1, 10
    else:
        return None
    step = 1 if last >= first else -1
    numbers = range(first, last + step, step)
    said = ", ".join(map(str, numbers[:COUNT_LENGTH]))
    rest = (
        f" I stop here: {COUNT_LENGTH} numbers at a time are enough." if len(numbers) > COUNT_LENGTH else ""
    )
    return f"{said}.{rest}"


def repeat(heard: Heard, _: Scene) -> str:
    """Say the person's own words again, as they wrote them."""
    found = re.search(
        r"\b(?:repeat|say)\b(?:\s+after\s+me)?[\s:,\"']+(.*)", heard.text, re.IGNORECASE | re.DOTALL
    )
    words = " ".join(found[1].split()).strip("\"'") if found else heard.found[1]
    if len(words) > REPEAT_LENGTH:
        return f"That is long, so here is how it begins: {words[:REPEAT_LENGTH]}"
    return (
        words
        if any(char.isalnum() for char in words)
        else "Repeat what? Say: repeat after me, and some words."
    )


def spell(heard: Heard, scene: Scene) -> str:
    """Spell a word, or the person's name."""
    word = heard.found[1]
    if word in ("my name", "me"):
        word = person.name(scene.metadata)
        if not word:
            return (
                "I do not know your name, so I cannot spell it. Your page did not send one in the metadata."
            )
    letters = [char.upper() for char in word if char.isalnum()][:SPELL_LENGTH]
    return f"{', '.join(letters)}." if letters else "There is nothing in it that I can spell."


def again(_: Heard, scene: Scene) -> str:
    """Say the last words again."""
    return scene.said[-1] if scene.said else "I have not said anything yet."


def calculate(heard: Heard, _: Scene) -> str | None:
    """Work out a sum of two whole numbers."""
    words = with_digits(heard.found.string.replace("-", " - "))
    found = _SUM.search(words)
    if not found:
        return None
    left, sign, right = int(found[1]), found[2], int(found[3])
    if sign in ("plus", "and", "+"):
        return f"{left} plus {right} is {left + right}."
    if sign in ("minus", "-", "less"):
        return f"{left} minus {right} is {left - right}."
    if sign in ("times", "x", "*", "\u00d7", "multiplied by"):
        return f"{left} times {right} is {left * right}."
    if right == 0:
        return "I do not divide by zero, and neither should you."
    whole, over = divmod(left, right)
    return f"{left} divided by {right} is {whole}{f', and {over} are left over' if over else ''}."


def who_am_i(_: Heard, scene: Scene) -> str:
    """Tell the person their name."""
    if found := person.name(scene.metadata):
        return f"Your name is {found}. Your page told me so in the metadata of this call."
    return "I do not know your name. A page can send it in the metadata: as name, or as customer.name."


def introduce(heard: Heard, _: Scene) -> str | None:
    """Greet somebody who says their name."""
    given = re.search(r"\b(?:name(?:'s|\s+is)|call\s+me)\s+([^\W\d_][\w'-]{0,30})", heard.text, re.IGNORECASE)
    return f"Nice to meet you, {given[1][:1].upper()}{given[1][1:]}." if given else None


def known(_: Heard, scene: Scene) -> str:
    """Tell the simple pairs of the caller's metadata."""
    everything = list(person.pairs(scene.metadata))
    if not everything:
        return (
            "Nothing that I would tell. Send a name with the request, in its metadata, and I greet you by it."
        )
    shown = everything[: person.PAIRS_TOLD]
    more = f", and {len(everything) - len(shown)} more" if len(everything) > len(shown) else ""
    told = "; ".join(f"{key} is {value}" for key, value in shown)
    return f"What your page sent in the metadata: {told}{more}."


def mine(heard: Heard, scene: Scene) -> str | None:
    """Tell one pair of the metadata: `what is my order number`."""
    asked = heard.found[1].split()
    for key, value in person.pairs(scene.metadata):
        if set(asked) <= set(key.split()):
            return f"Your {' '.join(asked)} is {value}, says the metadata of this call."
    return f"The metadata of this call holds no {' '.join(asked)[:60]} that I could tell you."


def own_name(scene: Scene) -> str:
    """Return what the assistant is called, in words short enough to say."""
    return " ".join(scene.assistant_name.split())[:60] or "the demo assistant"


def introduce_itself(_: Heard, scene: Scene) -> str:
    """Tell the assistant's name, and that it is a demo."""
    return f"I am {own_name(scene)}. {WHAT_I_AM}"


def salutation(scene: Scene) -> str:
    """Return a hello, by name and city where the metadata has them."""
    name, city = person.name(scene.metadata), person.city(scene.metadata)
    return f"Hello{f', {name}' if name else ''}{f' from {city}' if city else ''}!"


def hello(_: Heard, scene: Scene) -> str:
    """Greet back."""
    return f"{salutation(scene)} {scene.choose(('What may I do for you?', 'Here I am.', 'Go on.'))}"
