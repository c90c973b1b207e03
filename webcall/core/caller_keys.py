"""What stands in a request in the place of a key: no log line and no answer tells it, in whatever place."""

from __future__ import annotations

from webcall.core.answer_headers import LIKE_A_KEY, new_request_id, readable_id

# Of an existing deployment's keys; a shorter one would blot out half of every line.
_SHORTEST = 6


def keys_given(authorization: str, sandbox_id: str) -> tuple[str, ...]:
    """Return what stands in the place of a key in two headers, as they are in latin-1.

    A key beyond ASCII comes in both its readings: a body and an address hold it in UTF-8. What is too short
    to blot out is left out.
    """
    given = (authorization.partition(" ")[2].strip(), sandbox_id.strip())
    found = tuple(one for one in given if len(one) > _SHORTEST)
    return found + tuple(_in_utf8(one) for one in found if not one.isascii())


def without_keys(text: str, keys: tuple[str, ...]) -> str:
    """Return `text`, to be read in a terminal, with these keys and what looks like one blotted out."""
    text = LIKE_A_KEY.sub("[key]", text)
    for key in keys:
        text = text.replace(key, "[key]")
    if not text.isprintable():
        # A terminal obeys control characters.
        text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return text


def id_of(given: str, keys: tuple[str, ...]) -> str:
    """Return a caller's own X-Request-ID if it can be one and tells no key, or else a new one."""
    own = readable_id(given)
    return own if own and without_keys(own, keys) == own else new_request_id()


def _in_utf8(header: str) -> str:
    return header.encode("latin-1", "replace").decode("utf-8", "replace")
