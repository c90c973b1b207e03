"""Changes to a hand-written YAML text that leave all that they do not mean as it was.

The entries of the root (the dashes of a list, the fields of an object) are found by the marks of
the scanner's tokens, and the lines of those that change are cut out or written anew. The result is
only as good as its check: the caller parses it again and compares.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from plugins.file.parsing import YAML_LOADER

_NO_WRAPPING = 2**31
_BREAKS = frozenset("\x85\u2028\u2029\ufeff")

_OPENING = (
    yaml.BlockSequenceStartToken,
    yaml.BlockMappingStartToken,
    yaml.FlowSequenceStartToken,
    yaml.FlowMappingStartToken,
)
_CLOSING = (yaml.BlockEndToken, yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken)
_ENTRY_OF = {
    yaml.BlockSequenceStartToken: yaml.BlockEntryToken,
    yaml.BlockMappingStartToken: yaml.KeyToken,
}


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines, such as a prompt, as a block and not in quotes."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    if not _BREAKS.isdisjoint(text):
        style = '"'  # only there does PyYAML escape what YAML 1.1 would read as the end of a line
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def dump(value: Any) -> str:
    """Return a list or an object of JSON's forms as YAML in block style, fields in their order."""
    text: str = yaml.dump(
        value,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=_NO_WRAPPING,
        default_flow_style=False,
    )
    return text


def edit_entries(text: str, changed: Mapping[int, str | None], added: str) -> str | None:
    """Return `text` with entries of its root replaced by YAML text (None: removed), and `added` behind them.

    Entries count from 0. None where the root is not in block style, so that there are no lines to
    exchange, or cannot be scanned.
    """
    try:
        found = list(_entries(text))
    except yaml.YAMLError:
        return None
    if not found or max(changed, default=0) >= len(found):
        return None
    indent = " " * found[0][2]
    pieces, position = [], 0
    for index, (start, end, _) in enumerate(found):
        if index in changed:
            pieces += [text[position:start], textwrap.indent(changed[index] or "", indent)]
            position = end
    last = found[-1][1]
    pieces.append(text[position:last])
    if added and not (text[:last].endswith("\n") or "".join(pieces).endswith("\n")):
        pieces.append("\n")
    return "".join([*pieces, textwrap.indent(added, indent), text[last:]])


def _entries(text: str) -> Iterator[tuple[int, int, int]]:
    """Yield where each entry's lines begin and end in the text, and the column it stands in."""
    depth = 0
    entry_token: type[Any] | None = None
    start, column, end = -1, 0, 0
    for token in yaml.scan(text, Loader=YAML_LOADER):
        if isinstance(token, _OPENING):
            depth += 1
            if depth == 1:
                entry_token = _ENTRY_OF.get(type(token))
        is_entry = depth == 1 and entry_token is not None and isinstance(token, entry_token)
        is_end = depth == 1 and isinstance(token, yaml.BlockEndToken)
        if (is_entry or is_end) and start >= 0:
            yield start, _end_of_line(text, end), column
        if is_entry:
            column = token.start_mark.column
            start = token.start_mark.index - column
        if isinstance(token, _CLOSING):
            depth -= 1
        if not isinstance(token, yaml.BlockEndToken):
            end = token.end_mark.index


def _end_of_line(text: str, position: int) -> int:
    if position and text[position - 1] == "\n":
        return position
    newline = text.find("\n", position)
    return len(text) if newline < 0 else newline + 1
