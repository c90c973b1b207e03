"""Placeholders in an assistant's texts: Mustache, filled with the caller's metadata. Pure.

pystache parses the template and walks its sections. What a name means, what counts as present and how a value
becomes text is decided here, since pystache's own rules would call functions, read attributes of
objects and render `None`.

16 KiB of metadata can ask for hours of work and gigabytes of output (a list in a list in a list), so
a rendering counts its bytes and its steps and stops at once when it has had enough.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from pystache.renderengine import RenderEngine

from webcall.core.placeholders_parsing import parse
from webcall.core.placeholders_tree import Path, Template
from webcall.errors import InvalidMetadata, TemplateError
from webcall.records import as_json_value

FIELD_LIMIT_BYTES = 64 * 1024
TEMPLATE_LIMIT_CHARACTERS = 128 * 1024
"""UTF-8 bytes that a filled field may have."""

# One step is a tag, or a turn of a section: at about a microsecond each, well under 100 ms in all.
# 64 KiB hold 13,000 of the shortest tags, so that a template without loops never gets here.
STEP_LIMIT = 20_000

# Names have a few parts and contexts are a few deep; only those far beyond cost more than one step.
_LOOKS_PER_STEP = 16

_CALL = "call"
_MISSING: Any = object()
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


class _Stop(Exception):
    """Rendering was given up. The message says why and how to fix it, whoever's fault it is."""


def check_template(text: str) -> None:
    """Raise `TemplateError` if a call with this template must fail: see CONTRACT's "Placeholders".

    That is an unclosed tag or section, a stray close, a partial, a change of delimiters, or more text
    than `FIELD_LIMIT_BYTES`. The message names the tag and its place, and nothing else of the text.
    """
    _check_length(text)
    _check_size(_parsed(text).fixed_bytes)


class Values:
    """What the names in an assistant's texts mean for one call."""

    def __init__(self, metadata: Mapping[str, Any], defaults: Mapping[str, Any], *, text_only: bool) -> None:
        """Take the caller's pairs as JSON gives them, and what else the texts can read.

        `defaults` are the assistant's `assistant_placeholder_defaults` as stored; `text_only` is what
        `{{call.text_only}}` reads.
        """
        self.defaults = as_json_value(defaults)
        self.root = _merged(self.defaults, metadata)
        self.call = {**self.root, "call_type": "web", "text_only": text_only}

    def without_metadata(self) -> Values:
        """Return those of a call without any metadata."""
        return Values({}, self.defaults, text_only=self.call["text_only"])


def fill(text: str, values: Values) -> str:
    """Return the template filled in.

    Raises `TemplateError` if the assistant is at fault (the template, or a field that is too large
    even without metadata) and `InvalidMetadata` if the metadata makes the field larger than
    `FIELD_LIMIT_BYTES` or makes filling it take too many steps.
    """
    _check_length(text)
    template = _parsed(text)
    _check_size(template.fixed_bytes)
    if "{{" not in text:
        return text
    try:
        return _render(template, values)
    except _Stop as stop:
        reason = str(stop)
    # Who is at fault? What fails without metadata would fail for every caller.
    try:
        _render(template, values.without_metadata())
    except _Stop as stop:
        raise TemplateError(f"without any metadata, {stop} in the text or the defaults") from None
    raise InvalidMetadata(f"With this metadata, {reason} in metadata.")


def _check_length(text: str) -> None:
    # Before it is parsed: the time for that grows with the text, and a store may hold megabytes.
    if len(text) > TEMPLATE_LIMIT_CHARACTERS:
        raise TemplateError(
            f"the text has {len(text):,} characters, and at most {TEMPLATE_LIMIT_CHARACTERS:,} are read:"
            " shorten it"
        )


def _check_size(size: int) -> None:
    if size > FIELD_LIMIT_BYTES:
        raise TemplateError(
            f"the text alone has {size:,} bytes, and a filled field at most {FIELD_LIMIT_BYTES:,}: shorten it"
        )


@lru_cache(maxsize=128)
def _parsed(text: str) -> Template:
    return parse(text)


def _render(template: Template, values: Values) -> str:
    try:
        return template.tree.render(_ENGINE, _Context(values))
    except RecursionError:
        raise _Stop("the values are nested too deep: use fewer levels") from None


class _Context:
    """One rendering: where names are looked up, and what it has used so far."""

    def __init__(self, values: Values) -> None:
        self._defaults = values.defaults
        self._call = values.call
        self._stack: list[Any] = [values.root]
        self._steps_left = STEP_LIMIT
        self._bytes_left = FIELD_LIMIT_BYTES

    def push(self, item: _Value) -> None:
        self._stack.append(item.value)

    def pop(self) -> None:
        self._stack.pop()

    def count_text(self, size: int) -> None:
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise _Stop(f"a field would be filled with more than {FIELD_LIMIT_BYTES:,} bytes: use less")

    def count_steps(self, steps: int) -> None:
        self._steps_left -= steps
        if self._steps_left < 0:
            raise _Stop("a field would take too many steps to fill: use shorter lists")

    def resolve(self, path: Path) -> _Value:
        """Return what a section's name means here."""
        return _Value(self, self._meant_by(path))

    def text(self, path: Path) -> str:
        """Return the text of what a variable's name means here, as the contract writes it, counted."""
        value = self._meant_by(path)
        if value is None:
            return ""
        try:
            text = value if isinstance(value, str) else _json(value)
            size = len(text) if text.isascii() else len(text.encode())
        except ValueError:
            raise _Stop(
                "a value cannot be written (half of a surrogate pair, or a number of thousands of digits):"
                " fix it"
            ) from None
        self.count_text(size)
        return text

    def _meant_by(self, path: Path) -> Any:
        """Return what a tag's name means here; what is missing is like null."""
        self.count_steps(1 + (len(path) + len(self._stack)) // _LOOKS_PER_STEP)
        value = self._find(path)
        if value is _MISSING:
            value = _walk(self._defaults, path)
        return None if value is _MISSING else value

    def _find(self, path: Path) -> Any:
        if not path:
            return self._stack[-1]
        first, rest = path[0], path[1:]
        if first == _CALL:
            found = _walk(self._call, rest)
            return _walk(self._defaults, rest) if found is _MISSING else found
        for item in reversed(self._stack):
            found = _child(item, first)
            if found is not _MISSING:
                return _walk(found, rest)
        return _MISSING


class _Value:
    """A section's value as pystache sees it: its truth and its items follow the contract."""

    __slots__ = ("_context", "value")

    def __init__(self, context: _Context, value: Any) -> None:
        self._context = context
        self.value = value

    def __bool__(self) -> bool:
        # Not `bool(value)`: the number 0 is present.
        if isinstance(self.value, str | list | dict):
            return bool(self.value)
        return self.value is not None and self.value is not False

    def __iter__(self) -> Iterator[_Value]:
        for item in self.value if isinstance(self.value, list) else (self.value,):
            self._context.count_steps(1)
            yield _Value(self._context, item)


_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

# Walks sections. Has no state of a rendering, so that all threads can share it. Partials are refused when
# parsing.
_ENGINE = RenderEngine(resolve_context=_Context.resolve)


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `over` laid on `under`: objects are merged, anything else of `over` wins, null included."""
    merged = dict(under)
    for name, value in over.items():
        below = merged.get(name)
        both = isinstance(value, dict) and isinstance(below, dict)
        merged[name] = _merged(below, value) if both else value  # type: ignore[arg-type]  # below is a dict
    return merged


def _walk(value: Any, path: Path) -> Any:
    for part in path:
        if value is None:
            return None  # null is a value, and no default takes the place of what would be in it
        value = _child(value, part)
        if value is _MISSING:
            break
    return value


def _child(value: Any, part: str) -> Any:
    """Return the member of an object or the element of a list; of nothing else, and no attribute."""
    if isinstance(value, dict):
        return value.get(part, _MISSING)
    if isinstance(value, list) and _INDEX.fullmatch(part) and int(part) < len(value):
        return value[int(part)]
    return _MISSING
