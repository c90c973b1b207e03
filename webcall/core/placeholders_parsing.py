"""Templates of prompts, parsed: pystache's parser with a strict finder of tags that takes linear time.

pystache finds tags with one regular expression. It takes cubic time for an open brace before many
blanks, and reads a tag that is not closed, or an empty one, as a name that goes on to the braces of
some later tag. So the parser is given another finder. What the tags mean (nesting of sections, lines
on which a tag stands alone) stays with pystache, and with it the Mustache language's specification.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from pystache import parser as mustache
from pystache.parsed import ParsedTemplate

from webcall.core.placeholders_tree import Path, Template, Text, Tree, Variable
from webcall.errors import TemplateError

# pystache renders by recursion, three frames a section; Python's limit is 1,000 frames.
NESTING_LIMIT = 100

_BLANKS = re.compile(r"\s*+")
_RAW_END = re.compile(r"\}\s*+\}\}")
_SHOWN_CHARACTERS = 40
_NEWLINE = "\n"
_SIGILS = tuple("!>&/#^=")
_OPENERS = ("#", "^")


@dataclass(frozen=True, slots=True)
class _Tag:
    """One tag, in the form in which pystache's parser takes a match of its regular expression."""

    blanks: str
    index: int
    sigil: str
    name: str
    after: int

    def start(self) -> int:
        return self.index - len(self.blanks)

    def end(self) -> int:
        return self.after

    def groupdict(self) -> dict[str, str | None]:
        return {
            "whitespace": self.blanks,
            "tag": self.sigil,
            "tag_key": self.name,
            "change": None,
            "raw": None,
        }

    def __str__(self) -> str:
        name = " ".join(self.name.split())
        if len(name) > _SHOWN_CHARACTERS:
            name = name[:_SHOWN_CHARACTERS] + "..."
        return f"{{{{{self.sigil}{name}}}}}"


class _Tags:
    """Finds tags, refuses those that the contract refuses, and knows which sections are open."""

    def __init__(self) -> None:
        self.open: list[_Tag] = []
        self.last = _Tag("", 0, "", "", 0)

    def search(self, template: str, start: int) -> _Tag | None:
        """Return the first tag from `start` on, or None. Raises `TemplateError`."""
        index = template.find("{{", start)
        if index < 0:
            return None
        before = template[start:index]
        inside = _matched_end(_BLANKS, template, index + 2)
        if template.startswith("{", inside):
            closing = _RAW_END.search(template, inside + 1)
            end, after = closing.span() if closing else (-1, -1)
            sigil, name = "&", template[inside + 1 : end]
            closed = closing is not None and "{{" not in name and "}}" not in name
        else:
            end = template.find("}}", inside)
            after = end + 2
            sigil = template[inside] if template[inside : inside + 1] in _SIGILS else ""
            name = template[inside + len(sigil) : end]
            closed = end >= 0 and (sigil == "!" or "{{" not in name)
        if not closed:
            raise TemplateError(
                f"a tag is not closed ({_where(template, index)}): write its closing braces, as many as it"
                " opens with, or put a blank between braces that are meant as text"
            )
        tag = _Tag(before[len(before.rstrip(" \t")) :], index, sigil, name.strip(), after)
        self._check(template, tag)
        self._follow(tag)
        return tag

    def _check(self, template: str, tag: _Tag) -> None:
        if tag.sigil == "!":
            return
        if tag.sigil == "=":
            told, fix = "a tag changes the delimiters", "keep {{ and }}"
        elif not tag.name:
            told, fix = "a tag names nothing", "write a name between the braces"
        elif tag.sigil == ">":
            told, fix = f"{tag} is a partial", "write the text itself in its place"
        elif tag.sigil in _OPENERS and len(self.open) == NESTING_LIMIT:
            told, fix = f"{tag} is nested too deep", f"use at most {NESTING_LIMIT} sections in one another"
        else:
            return
        raise TemplateError(f"{told} ({_where(template, tag)}): {fix}")

    def _follow(self, tag: _Tag) -> None:
        self.last = tag
        if tag.sigil in _OPENERS:
            self.open.append(tag)
        elif tag.sigil == "/" and self.open and self.open[-1].name == tag.name:
            self.open.pop()

    def stray_close(self, template: str) -> TemplateError:
        """Return the error for the last tag, which closes what is not open."""
        told = f"{self.last} closes no open section ({_where(template, self.last)})"
        if not self.open:
            return TemplateError(f"{told}: remove it, or open the section before it")
        opened = self.open[-1]
        return TemplateError(f"{told}: close {opened} first ({_where(template, opened)})")

    def unclosed(self, template: str) -> TemplateError:
        """Return the error for the innermost section that is open at the end."""
        opened = self.open[-1]
        return TemplateError(
            f"{opened} is not closed ({_where(template, opened)}): write its closing tag,"
            f" {replace(opened, sigil='/')}"
        )


class _Parser(mustache._Parser):  # type: ignore[misc]  # pystache has no types
    """pystache's parser, with the tags found by `_Tags`."""

    def __init__(self, tags: _Tags) -> None:
        super().__init__(raise_on_mismatch=True)
        self._tags = tags

    def _compile_delimiters(self) -> None:
        self._template_re = self._tags


def parse(text: str) -> Template:
    """Return the parsed template. Raises `TemplateError`, and nothing else, if it cannot be parsed."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TemplateError(
            f"half of a surrogate pair stands in the text ({_where(text, error.start)}): remove it"
        ) from None
    tags = _Tags()
    try:
        parsed = _Parser(tags).parse(text)
    except mustache.ParsingError as error:
        # Not chained: pystache's message may name the wrong section, and quotes names in full.
        stray = error.info.tag_type == "/"
        raise (tags.stray_close(text) if stray else tags.unclosed(text)) from None
    tree = _prepared(parsed)
    return Template(tree, sum(node.size for node in tree.nodes if isinstance(node, Text)))


def _prepared(parsed: ParsedTemplate) -> Tree:
    """Drop comments, make text count itself, and split names once instead of at each rendering."""
    kept = [node for node in parsed._parse_tree if not isinstance(node, mustache._CommentNode)]
    nodes: list[Any] = []
    for is_text, run in groupby(kept, key=lambda node: isinstance(node, str)):
        if is_text:
            nodes.append(Text("".join(run)))
            continue
        for node in run:
            node.key = _path(node.key)
            if isinstance(node, mustache._SectionNode):
                node.parsed = _prepared(node.parsed)
            elif isinstance(node, mustache._InvertedNode):
                node.parsed_section = _prepared(node.parsed_section)
            else:
                node = Variable(node.key)
            nodes.append(node)
    return Tree(nodes)


def _path(name: str) -> Path:
    return () if name == "." else tuple(name.split("."))


def _matched_end(pattern: re.Pattern[str], text: str, start: int) -> int:
    match = pattern.match(text, start)
    return match.end() if match else start


def _where(text: str, place: _Tag | int) -> str:
    index = place if isinstance(place, int) else place.index
    return f"line {text.count(_NEWLINE, 0, index) + 1}, column {index - text.rfind(_NEWLINE, 0, index)}"
