"""YAML to a tree of settings; faults tell the place and the kind, and never the text around it."""

from __future__ import annotations

from typing import Any, NoReturn

import yaml

from webcall.config.faults import shown
from webcall.errors import ConfigError
from webcall.strict import yaml_problem


def parse(text: str, path: str) -> dict[Any, Any]:
    """Return the settings in `text`; an empty document has none.

    Raises `ConfigError` with one line, led by `path`, if it is not YAML, not a mapping, or names a
    setting twice in one place.
    """
    try:
        tree = yaml.load(text, Loader=_StrictLoader)  # noqa: S506  # nosec B506  # a SafeLoader
    except _Twice as error:
        raise ConfigError([f"{shown(path)}: {error}"]) from None
    except yaml.MarkedYAMLError as error:
        _refuse(path, yaml_problem(error), _at(error.problem_mark))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        _refuse(path, "a character that is not allowed", f" at line {line}")
    except yaml.YAMLError:
        _refuse(path, "", "")
    except RecursionError:
        _refuse(path, "nested too deeply", "")
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(
            [f"{shown(path)}: not a mapping of settings: begin with a section such as livekit:"]
        )
    return tree


def _refuse(path: str, told: str, at: str) -> NoReturn:
    raise ConfigError([f"{shown(path)}: not YAML{': ' if told else ''}{told}{at}"]) from None


def _at(mark: yaml.Mark | None) -> str:
    return f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""


class _Twice(Exception):
    pass


class _StrictLoader(yaml.SafeLoader):
    """A SafeLoader that refuses a setting written twice, of which YAML would keep the last."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # Here and not when values are made: by then merged mappings (<<) stand among a node's own pairs.
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for name, _ in node.value:
            if isinstance(name, yaml.ScalarNode):
                if name.value in seen:
                    raise _Twice(f"the setting '{shown(name.value)}' stands twice{_at(name.start_mark)}")
                seen.add(name.value)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, TypeError, OverflowError, LookupError, AttributeError):
            # The 31st of February, a number with thousands of digits, or `!!bool perhaps`.
            raise yaml.MarkedYAMLError(
                problem="a date or a number that does not exist: put text in quotes",
                problem_mark=node.start_mark,
            ) from None
