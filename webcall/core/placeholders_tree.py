"""A parsed template of a prompt: what stands in it, one behind the other, and how it is rendered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Path = tuple[str, ...]
"""A dotted name in its parts; empty for `{{.}}`, the current item."""


class Tree:
    """What stands in a template, or in a section of it: texts, variables, and pystache's sections."""

    __slots__ = ("nodes",)

    def __init__(self, nodes: list[Any]) -> None:
        self.nodes = nodes

    def render(self, engine: Any, context: Any) -> str:
        """Return the text of all, as they stand.

        Calls `context.count_text(n)` for each run of text of n bytes of UTF-8, `context.text(path)` for each
        variable, and for each section the engine's `resolve_context(context, path)`, with a `Path` in place
        of a name.
        """
        return "".join([node.render(engine, context) for node in self.nodes])


class Text:
    """A run of the template's own text, counted each time it is rendered."""

    __slots__ = ("size", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.size = len(text.encode())

    def render(self, engine: Any, context: Any) -> str:
        """Return it."""
        context.count_text(self.size)
        return self.text


class Variable:
    """A tag whose place a value's text takes. With two braces or three: nothing is escaped."""

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        self.path = path

    def render(self, engine: Any, context: Any) -> str:
        """Return the value's text."""
        text: str = context.text(self.path)
        return text


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template: read-only from here on, and so shared by all threads."""

    tree: Tree
    fixed_bytes: int
    """UTF-8 bytes of the text that is rendered whatever the values are."""
