"""JSON and YAML in which a name that stands twice in one object is a fault, not the last one's win."""

from __future__ import annotations

import re
from typing import Any

import yaml


class Repeated(ValueError):
    """A name stands twice in one object. `mark` is its place, where the parser knows it."""

    def __init__(self, name: str, mark: yaml.Mark | None = None) -> None:
        self.name = name
        self.mark = mark
        super().__init__("a name stands twice in one object")


def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of these pairs: for `object_pairs_hook` of `json.loads`. Raises `Repeated`."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise Repeated(next(name for name in names if names.count(name) > 1))
    return found


class DistinctMappings:
    """A mixin for loaders of PyYAML, C or not: mappings that name something twice raise `Repeated`."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Look at a mapping's own names before merged ones (`<<`) come in between."""
        looked_at: set[int] = self.__dict__.setdefault("_looked_at", set())
        if id(node) not in looked_at:
            looked_at.add(id(node))
            seen = set()
            for name, _ in node.value:
                if isinstance(name, yaml.ScalarNode):
                    if name.value in seen:
                        raise Repeated(name.value, name.start_mark)
                    seen.add(name.value)
        super().flatten_mapping(node)  # type: ignore[misc]  # of the loader that this is mixed into


def more_values_than(most: int, tree: Any) -> bool:
    """Return whether a parsed document holds more values than `most`, aliased ones counted each time."""
    left = [tree]
    values = 0
    while left:
        values += 1
        if values > most:
            return True
        value = left.pop()
        if isinstance(value, dict):
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)
    return False


# What PyYAML expects is in quotes, too, and YAML's own: `','`, `'<block end>'`. Two that meet are one text.
_OWN = re.compile(r"('(?:[][{},:?-]|<[a-z ]+>)'(?!['\w]))")
_QUOTED = re.compile(r"\s*['\"].*['\"]", re.DOTALL)


def yaml_problem(error: yaml.YAMLError) -> str:
    """Return what is wrong with a document and where that begins, without any of its text; may be empty."""
    problem = str(getattr(error, "problem", None) or getattr(error, "context", None) or "")
    if "'\\t' that cannot start" in problem:
        return "a tab: indent with blanks"
    context, begins = getattr(error, "context", None), getattr(error, "context_mark", None)
    at = getattr(error, "problem_mark", None)
    told = _without_text(problem)
    if begins is None or at is None or begins.line == at.line or not context:
        return told
    return f"{told} ({_without_text(context)} that begins at line {begins.line + 1})"


def _without_text(told: str) -> str:
    """Return PyYAML's words without what is quoted of the document: an alias, a tag, a character."""
    return "".join(one if _OWN.fullmatch(one) else _QUOTED.sub("", one) for one in _OWN.split(told)).strip()
