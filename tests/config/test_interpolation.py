"""References to the environment in the values of config.yaml."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webcall.config.interpolation import interpolate

ENVIRON = {"NAME": "value", "EMPTY": "", "NESTED": "${NAME} $$ ${GONE}"}

GOOD = {
    "plain": "plain",
    "${NAME}": "value",
    "a-${NAME}-b-${NAME}": "a-value-b-value",
    "${EMPTY:-default}": "default",
    "${GONE:-default}": "default",
    "${GONE:-}": "",
    "${NAME:-default}": "value",
    "${GONE:-a:b,c d\n}": "a:b,c d\n",
    "${GONE:-pa$$word}": "pa$word",
    "${GONE:-a$b}": "a$b",
    "$$": "$",
    "$${NAME}": "${NAME}",
    "$$${NAME}": "$value",
    "$NAME 5$": "$NAME 5$",
    "${NESTED}": "${NAME} $$ ${GONE}",
}


@pytest.mark.parametrize(("text", "expected"), GOOD.items())
def test_references_are_replaced_once(text: str, expected: str) -> None:
    """A reference becomes its variable, an empty or missing one its default, and no result is read again."""
    assert interpolate({"a": [text]}, ENVIRON) == ({"a": [expected]}, {})


@pytest.mark.parametrize(
    ("text", "told"),
    {
        "${GONE}": "GONE is not set",
        "x ${EMPTY}": "EMPTY is empty",
        "${": "begins a reference",
        "${1A}": "begins a reference",
        "${NAME-x}": "begins a reference",
        "${NAME:?x}": "begins a reference",
        "${NAME:-${OTHER:-x}}": "no reference inside the default",
    }.items(),
)
def test_fault_is_told_by_path(text: str, told: str) -> None:
    """What cannot be resolved is a fault under its path; its neighbours are there, at their places."""
    tree, faults = interpolate({"a": {"b": text, "c": 1}, "d": ["x", text, "y"]}, ENVIRON)
    assert tree == {"a": {"b": None, "c": 1}, "d": ["x", None, "y"]}
    assert faults.keys() == {("a", "b"), ("d", "1")}
    assert all(told in fault for fault in faults.values())


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.dates()
NAMES = st.text(max_size=5) | st.integers() | st.none()
TEXTS = st.text(st.sampled_from("${}:-ANE_ x\n")) | st.sampled_from([*GOOD, "${GONE}", "${"])


def trees(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=15)


@given(trees(SCALARS | TEXTS), st.dictionaries(st.sampled_from(["A", "NE", "NAME"]), st.text()))
def test_any_tree_is_answered_with_a_tree_and_faults(tree: Any, environ: dict[str, str]) -> None:
    """Whatever stands in a tree, the answer is a result and faults, one line each."""
    _, faults = interpolate(tree, environ)
    assert all("\n" not in fault for fault in faults.values())


@given(st.dictionaries(NAMES, trees(SCALARS | st.text()), min_size=1))
def test_good_settings_are_kept_beside_bad_ones(settings: dict[Any, Any]) -> None:
    """Every setting without a reference comes through unchanged, however many others are lost."""
    escaped = _escape(settings)
    tree, faults = interpolate({"good": escaped, "bad": "${GONE}", "list": ["${GONE}", escaped]}, {})
    assert tree == {"good": settings, "bad": None, "list": [None, settings]}
    assert faults.keys() == {("bad",), ("list", "0")}


def _escape(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, list):
        return [_escape(item) for item in value]
    if isinstance(value, dict):
        return {name: _escape(item) for name, item in value.items()}
    return value
