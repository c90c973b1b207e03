"""Placeholders: what can be parsed is filled, within bounds, and as Mustache has it."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from pystache import Renderer

from tests.support.fuzzing import EXAMPLES, fuzzed
from webcall.core.placeholders import (
    FIELD_LIMIT_BYTES,
    TEMPLATE_LIMIT_CHARACTERS,
    Values,
    check_template,
    fill,
)
from webcall.errors import InvalidMetadata, TemplateError

# Few names, so that templates and values meet; some that a careless look-up would take the wrong way.
NAMES = st.sampled_from(["a", "b", "c", "0", "1", "call", "call_type", "text_only", "__class__", "", "keys"])
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["{{a}}", "{{#a}}", "{{/a}}", "{{{b}}}", "{{> x}}", "{{=<% %>=}}", "}}", "{{", "<&>"]),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
)
# Long lists of plain values only: nested, they would be larger than any request's metadata.
LONG = st.builds(lambda item, times: [item] * times, SCALARS, st.integers(100, 1000))
VALUES = st.recursive(
    st.one_of(SCALARS, LONG),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(NAMES, inner, max_size=4),
    ),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.one_of(NAMES, TEXTS), VALUES, max_size=5)
PATHS = st.one_of(st.just("."), st.lists(NAMES, min_size=1, max_size=4).map(".".join).filter(bool))
LITERALS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="{}"), max_size=12)


@st.composite
def tags(draw: st.DrawFn) -> str:
    path, blank = draw(PATHS), draw(st.sampled_from(["", " ", "\n"]))
    return draw(st.sampled_from(["{{%s}}", "{{{%s}}}", "{{&%s}}", "{{!%s}}"])) % (blank + path + blank)


TEMPLATES = st.recursive(
    st.one_of(LITERALS, tags()),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.builds(
            lambda kind, path, body: f"{{{{{kind}{path}}}}}{body}{{{{/{path}}}}}",
            st.sampled_from("#^"),
            PATHS,
            inner,
        ),
    ),
    max_leaves=12,
)
BROKEN = st.lists(
    st.one_of(
        TEXTS, st.sampled_from(["{{", "}}", "{", "}", "{{{", "{{#", "{{/", "{{^", "{{!", "=", " ", "a", "\n"])
    ),
    max_size=12,
).map("".join)


@fuzzed
@given(TEMPLATES, OBJECTS, OBJECTS, st.booleans())
@example("{{#a}}{{#a}}{{#a}}{{a}}{{/a}}{{/a}}{{/a}}", {"a": [0] * 4000}, {}, False)
def test_metadata_never_breaks_a_good_template(
    template: str, metadata: dict[str, Any], defaults: dict[str, Any], text_only: bool
) -> None:
    """Where filling works without metadata, any metadata gives a bounded field or `InvalidMetadata`."""
    check_template(template)
    try:
        fill(template, Values({}, defaults, text_only=text_only))
    except TemplateError:
        assume(False)
    try:
        text = fill(template, Values(metadata, defaults, text_only=text_only))
    except InvalidMetadata:
        return
    assert len(text.encode()) <= FIELD_LIMIT_BYTES


@fuzzed
@given(st.one_of(BROKEN, st.text(max_size=40)), OBJECTS)
@example("{{=|=}}", {})
@example("{{}} {{a}}", {})
def test_any_text_is_filled_or_refused(template: str, metadata: dict[str, Any]) -> None:
    """Whatever stands in a template, it is filled or refused with the contract's two errors."""
    try:
        check_template(template)
    except TemplateError:
        refused = True
    else:
        refused = False
    try:
        fill(template, Values(metadata, {}, text_only=False))
    except TemplateError:
        assert refused
    except InvalidMetadata:
        assert not refused
    else:
        assert not refused


@fuzzed
@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60), st.lists(TEXTS, min_size=1, max_size=4)
)
@example("{{a}}{{{b}}}{{#a}}{{/a}}{{> c}}{{=| |=}}", ["{{#a}}"])
def test_value_is_never_a_template(value: str, items: list[str]) -> None:
    """A string renders as it is, however often it stands in sections and whatever tags it holds."""
    text = fill(
        "{{v}}|{{{v}}}|{{&o.v}}|{{call.v}}|{{#l}}{{.}};{{/l}}|{{o}}|{{d}}",
        Values({"v": value, "o": {"v": value}, "l": items}, {"d": value}, text_only=False),
    )
    as_object = json.dumps({"v": value}, ensure_ascii=False, separators=(",", ":"))
    assert text == "|".join([value] * 4 + ["".join(f"{item};" for item in items), as_object, value])


@fuzzed
@given(OBJECTS, OBJECTS, PATHS, st.booleans())
@example({"call": {"call_type": "x"}, "a": {"call": {"text_only": 1}}}, {"call": 1}, "a", True)
def test_call_is_never_shadowed(
    metadata: dict[str, Any], defaults: dict[str, Any], section: str, text_only: bool
) -> None:
    """`call` reads the service's own two, in any section and under any metadata and defaults."""
    own = "<{{call.call_type}} {{call.text_only}}{{#call}} {{call_type}}{{/call}}>"
    try:
        text = fill(
            own + f"{{{{#{section}}}}}{own}{{{{/{section}}}}}",
            Values(metadata, defaults, text_only=text_only),
        )
    except InvalidMetadata:
        assume(False)
    expected = f"<web {json.dumps(text_only)} web>"
    assert re.fullmatch(f"({expected})+", text)


# Names for text, and names for what sections go through: where both would meet, Mustache's libraries differ.
WORDS = st.sampled_from(["s1", "s2", "o1.s1", "o1.o2.s1", "gone", "gone.s1"])
PARTS = st.sampled_from(["o1", "l1", "l2", "b1", "b2", "n1", "gone", "o1.l1", "o1.o2"])
PLAIN = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="{}"), min_size=1, max_size=5)


def rooms_of(level: int) -> st.SearchStrategy[dict[str, Any]]:
    """Return objects whose names have the kinds of values that the names above say."""
    inner = rooms_of(level - 1) if level else st.just({})
    return st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(("s1", "s2"), PLAIN),
            **dict.fromkeys(("o1", "o2"), inner),
            "l1": st.lists(inner, max_size=3),
            "l2": st.lists(PLAIN, max_size=3),
            "b1": st.just(True),
            "b2": st.just(False),
            "n1": st.none(),
        },
    )


MUSTACHE = st.recursive(
    st.one_of(
        LITERALS,
        st.builds("{}{}{}".format, st.just("{{"), WORDS, st.just("}}")),
        st.builds("{{{{{{{}}}}}}}".format, WORDS),
        st.just("{{! a comment }}\n"),
    ),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.builds(
            lambda kind, path, body, line: f"{{{{{kind}{path}}}}}{line}{body}{line}{{{{/{path}}}}}{line}",
            st.sampled_from("#^"),
            PARTS,
            inner,
            st.sampled_from(["", "\n"]),
        ),
    ),
    max_leaves=8,
)


@fuzzed
@given(MUSTACHE, rooms_of(2))
@example("{{#l1}}{{s1}}{{/l1}}{{^l1}}none{{/l1}}", {"s1": "outer", "l1": [{"s1": "inner"}, {}]})
def test_it_fills_as_pystache_does(template: str, metadata: dict[str, Any]) -> None:
    """Where the contract says nothing of its own, a template is filled as by a whole library of Mustache."""
    renderer = Renderer(escape=str, missing_tags="ignore", string_encoding="utf-8")
    expected = renderer.render(template, metadata)
    assert fill(template, Values(metadata, {}, text_only=False)) == expected


@settings(fuzzed, max_examples=-(-EXAMPLES.inputs // 4))
@given(
    st.lists(
        st.sampled_from(
            ["{{", "}}", "{", "}", "{{{", "{{#a}}", "{{/a}}", "{{!", " ", "\n", "a", "{{a", ".", "="]
        ),
        min_size=1,
        max_size=4,
    ).map("".join),
    BROKEN,
)
@example("{ ", "")
@example("{{#a}}", "")
@example("{{! ", "")
def test_the_longest_text_takes_no_longer_than_its_length_asks(unit: str, start: str) -> None:
    """Any piece, repeated until the text is full, is read in the time that its length asks for."""
    text = start + unit * ((TEMPLATE_LIMIT_CHARACTERS - len(start)) // len(unit))
    before = time.thread_time()
    try:
        fill(text, Values({"a": "b"}, {}, text_only=False))
    except (TemplateError, InvalidMetadata):
        pass
    # A quarter of a second on a slow machine; quadratic time would be minutes. Of this thread alone.
    assert time.thread_time() - before < 10
