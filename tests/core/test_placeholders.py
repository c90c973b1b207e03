from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from webcall.core import placeholders
from webcall.core.placeholders import FIELD_LIMIT_BYTES, STEP_LIMIT, Values, check_template, fill
from webcall.core.placeholders_parsing import NESTING_LIMIT
from webcall.errors import InvalidMetadata, TemplateError


def filled(text: str, metadata: Any = None, defaults: Any = None, *, text_only: bool = False) -> str:
    return fill(text, Values(metadata or {}, defaults or {}, text_only=text_only))


PERSON = {"customer": {"name": "Ada", "address": {"city": "London"}}, "tags": ["a", {"b": "c"}]}


@pytest.mark.parametrize(
    ("text", "metadata", "expected"),
    [
        ("Hi {{customer.name}}, {{customer.address.city}}", PERSON, "Hi Ada, London"),
        ("{{tags.0}} {{tags.1.b}}", PERSON, "a c"),
        ("{{ \t customer.name\n }}|{{\u00a0customer.name }}", PERSON, "Ada|Ada"),
        ("{{{ customer.name }}}{{& customer.name }}{{ {customer.name} }}", PERSON, "AdaAdaAda"),
        ("[{{nothing}}{{customer.nothing.at.all}}]", PERSON, "[]"),
        ("[{{tags.2}}{{tags.-1}}{{tags.00}}{{tags.0x0}}{{tags.\u0661}}]", PERSON, "[]"),
        ("[{{tags." + "9" * 5000 + "}}]", PERSON, "[]"),
        ("[{{tags.length}}{{customer.keys}}{{customer.__class__}}{{customer.name.upper}}]", PERSON, "[]"),
        ("{{a}}", {"a": "<b> & \"c\" 'd'"}, "<b> & \"c\" 'd'"),
        ("{{a}} {{b}} {{c}} {{d}}", {"a": 1, "b": 1.0, "c": -2.5, "d": 1e100}, "1 1.0 -2.5 1e+100"),
        ("{{a}} {{b}} [{{c}}]", {"a": True, "b": False, "c": None}, "true false []"),
        ("{{o}} {{l}}", {"o": {"é": [1, None]}, "l": ["a", True]}, '{"é":[1,null]} ["a",true]'),
        ("{{a}}", {"a": "{{b}} {{#c}}", "b": "no"}, "{{b}} {{#c}}"),
        ("{{! a {{comment }}x{{!}}{{! }}y{{!\nlong\n}}", {}, "xy"),
        ("no tags } {a} }}", {}, "no tags } {a} }}"),
        ("{{a}}}", {"a": "b"}, "b}"),
        ("{{}a}}", {"}a": "odd"}, "odd"),
    ],
)
def test_interpolation(text: str, metadata: Any, expected: str) -> None:
    """Names, dotted names, list elements and each kind of value render as the contract says."""
    assert filled(text, metadata) == expected


@pytest.mark.parametrize(
    ("value", "present"),
    [(x, False) for x in (False, None, "", [], {})]
    + [(x, True) for x in (0, 0.0, True, " ", [0], [None], {"x": None}, "false")],
)
def test_presence(value: Any, present: bool) -> None:
    """A section and its inverse agree on what is present; 0 is."""
    text = "{{#a.b}}yes{{/a.b}}{{^a.b}}no{{/a.b}}"
    assert filled(text, {"a": {"b": value}}) == ("yes" if present else "no")


@pytest.mark.parametrize(
    ("text", "metadata", "expected"),
    [
        # The context stack: the innermost context that has a name's first part wins.
        (
            "{{#a}}{{x}}{{y}}{{#b}}{{x}}{{y}}{{/b}}{{/a}}",
            {"x": 1, "y": 2, "a": {"x": 3, "b": {"y": 4}}},
            "3234",
        ),
        ("{{#a}}{{b.c}}{{/a}}", {"a": {"b": {}}, "b": {"c": "outer"}}, ""),
        ("{{#a}}{{n}}{{/a}}", {"a": {"n": None}, "n": "outer"}, ""),
        ("{{#s}}{{.}}{{x}}{{/s}}", {"s": "text", "x": "!"}, "text!"),
        # Lists repeat; `.` is the current item.
        ("{{#l}}<{{.}}>{{/l}}", {"l": ["{{x}}", 1.5, True, None, {"a": 1}]}, '<{{x}}><1.5><true><><{"a":1}>'),
        ("{{#l}}{{#.}}{{.}}{{/.}};{{/l}}", {"l": [[1, 2], [], [3]]}, "12;;3;"),
        ("{{#l}}{{0}}{{/l}}", {"l": [[1, 2], [3]]}, "13"),
        ("{{#l}}{{n}}{{^last}}, {{/last}}{{/l}}", {"l": [{"n": "a"}, {"n": "b", "last": True}]}, "a, b"),
        ("{{#l.1.m}}{{.}}{{/l.1.m}}", {"l": [0, {"m": [7, 8]}]}, "78"),
        ("{{# a }}{{# a }}x{{/ a }}{{/  a}}", {"a": True}, "x"),
        ("{{.}}", {"b": 1, "a": [2]}, '{"b":1,"a":[2]}'),
        # Lines on which a tag stands alone vanish, of any line ending; others keep their blanks.
        ("|\n  {{#a}}\n|\n  {{/a}}\n|", {"a": True}, "|\n|\n|"),
        ("|\r\n{{^a}}\r\n|\r\n{{/a}}\r\n|", {}, "|\r\n|\r\n|"),
        ("{{#a}}\nx\n{{/a}}", {"a": True}, "x\n"),
        ("|\n  {{! alone }}\n|", {}, "|\n|"),
        ("| {{#a}}\t|\t{{/a}} |\n", {"a": True}, "| \t|\t |\n"),
        ("  {{! a }}  {{! b }}  |", {}, "      |"),
        ("|\n  {{x}}\n|", {"x": "v"}, "|\n  v\n|"),
    ],
)
def test_sections(text: str, metadata: Any, expected: str) -> None:
    """The situations of the Mustache specification, as far as the contract takes it."""
    assert filled(text, metadata) == expected


DEFAULTS = {"customer": {"name": "friend", "plan": "free", "tags": ["x", "y"]}, "city": "Rome", "l": [1, 2]}


@pytest.mark.parametrize(
    ("text", "metadata", "expected"),
    [
        ("{{customer.name}} {{customer.plan}} {{city}}", {"customer": {"name": "Ada"}}, "Ada free Rome"),
        ("{{#customer}}{{name}} {{plan}}{{/customer}}", {"customer": {"name": "Ada"}}, "Ada free"),
        ("{{#city}}in {{.}}{{/city}}{{^city}}nowhere{{/city}}", {}, "in Rome"),
        ("[{{city}}]{{^city}}none{{/city}}", {"city": None}, "[]none"),
        ("[{{customer.name}}]", {"customer": {"name": None}}, "[]"),
        ("{{l}} {{l.1}}", {"l": [9]}, "[9] 2"),
        ("{{customer}} {{customer.name}}", {"customer": "Ada"}, "Ada friend"),
        ("{{#customer}}{{customer.tags.1}}{{/customer}}", {"customer": {"tags": ["z"]}}, "y"),
        ("{{call.city}} {{call.customer.name}}", {"customer": 5}, "Rome friend"),
        ("[{{customer.name}}{{call.customer.name}}]", {"customer": None}, "[]"),
        ("{{customer}}", {"customer": {"name": "Ada"}}, '{"name":"Ada","plan":"free","tags":["x","y"]}'),
    ],
)
def test_defaults(text: str, metadata: Any, expected: str) -> None:
    """A missing value is the assistant's default, nested and in sections too; null is not missing."""
    assert filled(text, metadata, DEFAULTS) == expected


def test_default_is_no_template() -> None:
    """A default is a value as well: what it holds is not read as a template."""
    assert filled("{{a}}", {}, {"a": "{{b}}", "b": "no"}) == "{{b}}"


def test_default_without_json_form() -> None:
    """What a database stores and JSON has no form for renders as text."""
    assert filled("{{a}} {{b}}", {}, {"a": datetime(2026, 1, 2, tzinfo=UTC), "b": (1, 2)}) == (
        "2026-01-02T00:00:00Z [1,2]"
    )


HOSTILE = {"call_type": "phone", "text_only": "no", "call": {"call_type": "phone", "x": 1}, "x": 2}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{call.call_type}} {{call.text_only}} {{call.x}}", "web true 2"),
        ("{{call_type}} {{text_only}}", "phone no"),
        ("{{call.call.x}}", "1"),
        ("{{#call}}{{call_type}} {{x}}{{/call}}", "web 2"),
        ("{{#call.call}}{{call_type}} {{call.call_type}} {{call.x}}{{/call.call}}", "phone web 2"),
        ("{{#l}}{{call.call_type}}{{/l}}", "web"),
        (
            "{{call}}",
            '{"call_type":"web","text_only":true,"call":{"call_type":"phone","x":1},"x":2,"l":[{"call":0}]}',
        ),
        ("[{{call.call_type.x}}{{call.nothing}}]", "[]"),
        ("[{{call.only.default}}{{call.within}}]", "[DW]"),
    ],
)
def test_call(text: str, expected: str) -> None:
    """`call` is always the pairs with the service's own two, whatever metadata calls itself so."""
    metadata = {**HOSTILE, "l": [{"call": 0}]}
    defaults = {} if text == "{{call}}" else {"only": {"default": "D"}, "call": {"within": "W"}}
    assert filled(text, metadata, defaults, text_only=True) == expected


class Trap:
    """An object of Python that must not be looked into."""

    secret = "leak"

    def __call__(self, *_: object) -> str:
        raise AssertionError("called")

    def __str__(self) -> str:
        return "trap"


def test_python_objects() -> None:
    """No attribute is read and nothing is called, even where a default is an object of Python."""
    assert filled("{{t}}[{{t.secret}}]{{#t}}x{{/t}}", {}, {"t": Trap()}) == "trap[]x"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("one\n {{#Sec}} {{b}}", r"\{\{#Sec\}\} is not closed \(line 2, column 2\).*\{\{/Sec\}\}"),
        ("{{^a}}{{#b}}{{/b}}", r"\{\{\^a\}\} is not closed \(line 1, column 1\)"),
        ("x{{/a}}", r"\{\{/a\}\} closes no open section \(line 1, column 2\).*remove"),
        ("{{#a}}{{#b}}{{/a}}{{/b}}", r"\{\{/a\}\} closes no open section.*close \{\{#b\}\} first"),
        ("{{> other}}", r"\{\{>other\}\} is a partial \(line 1"),
        ("{{=<% %>=}}<%#a%>", "delimiters.*keep"),
        ("{{=|=}}", "delimiters"),
        ("{{=}}", "delimiters"),
        ("{{}} prompt {{a}}", "names nothing"),
        ("{{#}} prompt {{/}}", "names nothing"),
        ("{{ & }}", "names nothing"),
        ("{{{ }}} {{a}}", "names nothing"),
        ("{{name} prompt {{a}}", r"not closed \(line 1, column 1\)"),
        ("{{{name}} prompt {{{a}}}", r"not closed \(line 1, column 1\)"),
        ("{{{name}}", "not closed"),
        ("{{#a}}{{/a}}\r\n{{a", r"not closed \(line 2, column 1\)"),
        ("prompt \ud800 {{a}}", "surrogate.*line 1, column 8"),
        ("{{#a}}" * 5000 + "{{/a}}" * 5000, "nested too deep"),
        ("{{^" + "n" * 5000 + "}}", r"\{\{\^n{40}\.\.\.\}\}"),
        ("prompt" * 20_000, "120,000 bytes.*shorten"),
        ("{{a}}" + "é" * 32_769, "65,538 bytes.*shorten"),
    ],
)
def test_refused_template(text: str, told: str) -> None:
    """A template that cannot be used is refused, when checked and when filled, in the same words."""
    with pytest.raises(TemplateError, match=told) as checked:
        check_template(text)
    with pytest.raises(TemplateError) as met:
        filled(text)
    assert str(met.value) == str(checked.value)
    assert "prompt" not in str(checked.value)
    assert "\n" not in str(checked.value)


def test_nesting_limit() -> None:
    """As many sections in one another as are allowed are rendered."""
    text = "{{#a}}" * NESTING_LIMIT + "x" + "{{/a}}" * NESTING_LIMIT
    check_template(text)
    assert filled(text, {"a": True}) == "x"
    with pytest.raises(TemplateError):
        check_template("{{#a}}" + text + "{{/a}}")


@pytest.mark.parametrize(
    "text", [" " * 60_000 + "x {{a}}", "{{" + " " * 60_000 + "a}}", "{{a" + " " * 60_000 + "b}}"]
)
@pytest.mark.timeout(20)
def test_blanks(text: str) -> None:
    """Long runs of blanks do not hold the parser up: pystache's own expression takes hours."""
    assert filled(text, {"a": "v", "b": "w"}).strip() in ("x v", "v", "")


def test_limit_is_in_bytes() -> None:
    """A field may have exactly the limit in UTF-8 bytes, and not one more."""
    text = "é{{a}}"
    assert len(filled(text, {"a": "b" * (FIELD_LIMIT_BYTES - 2)}).encode()) == FIELD_LIMIT_BYTES
    for value in ("b" * (FIELD_LIMIT_BYTES - 1), ["é" * (FIELD_LIMIT_BYTES // 2 - 2)]):
        with pytest.raises(InvalidMetadata, match="65,536 bytes"):
            filled(text, {"a": value})
    assert filled("x" * FIELD_LIMIT_BYTES) == "x" * FIELD_LIMIT_BYTES


LONG = {"l": [0] * 4000}


@pytest.mark.parametrize(
    ("text", "metadata", "told"),
    [
        ("{{#l}}A sentence of the template's own.{{/l}}", LONG, "more than 65,536 bytes.*metadata"),
        ("{{#l}}{{l}}{{/l}}", LONG, "more than 65,536 bytes"),
        ("{{#l}}{{#l}}{{#l}}{{#l}}{{/l}}{{/l}}{{/l}}{{/l}}", LONG, "too many steps.*lists.*metadata"),
        ("{{#l}}" + "{{none}}" * 1000 + "{{/l}}", LONG, "too many steps"),
        ("{{#l}}{{" + "a." * 30_000 + "b}}{{/l}}", LONG, "too many steps"),
        ("{{a}}", {"a": "\ud800"}, "surrogate"),
        ("{{a}}", {"a": 10**5000}, "digits"),
    ],
)
@pytest.mark.timeout(20)
def test_metadata_at_fault(text: str, metadata: Any, told: str) -> None:
    """What the caller's metadata does to a good template is the caller's fault, and ends early."""
    check_template(text)
    filled(text)
    with pytest.raises(InvalidMetadata, match=told) as caught:
        filled(text, metadata)
    assert "sentence" not in str(caught.value)


def test_metadata_nested_too_deep() -> None:
    """Metadata beyond Python's recursion is the caller's fault, not a crash."""
    deep: Any = "x"
    for _ in range(sys.getrecursionlimit() * 2):
        deep = [deep]
    with pytest.raises(InvalidMetadata, match="nested too deep"):
        filled("{{a}}", {"a": deep})


@pytest.mark.parametrize(
    ("text", "defaults"),
    [
        ("{{#l}}some twenty characters{{/l}}", LONG),
        ("{{#l}}{{#l}}{{/l}}{{/l}}", LONG),
        ("{{b}}", {"b": "x" * (FIELD_LIMIT_BYTES + 1)}),
        ("{{^nothing}}" + "x" * FIELD_LIMIT_BYTES + "{{/nothing}}!", {}),
    ],
)
def test_assistant_at_fault(text: str, defaults: Any) -> None:
    """A field that fails without any metadata is the assistant's fault, whatever the caller sends."""
    for metadata in ({}, {"x": "y" * 1000}):
        with pytest.raises(TemplateError, match="without any metadata"):
            filled(text, metadata, defaults)


def test_steps_are_enough() -> None:
    """The fullest template without loops, and a long list, are within the steps."""
    text = "{{a}}" * (FIELD_LIMIT_BYTES // 5)
    assert filled(text, {"a": 1}) == "1" * (FIELD_LIMIT_BYTES // 5)
    assert filled("{{#l}}{{.}}{{/l}}", {"l": [1] * (STEP_LIMIT // 3)}) == "1" * (STEP_LIMIT // 3)


def test_inputs_are_left_alone() -> None:
    """Filling changes neither the metadata nor the defaults, which others share."""
    metadata, defaults = {"a": {"b": 1}}, {"a": {"c": 2}}
    filled("{{a}}{{#call}}{{a}}{{/call}}", metadata, defaults)
    assert (metadata, defaults) == ({"a": {"b": 1}}, {"a": {"c": 2}})


def test_parsed_once_and_shared_by_threads() -> None:
    """A text is parsed once, and threads that fill it at the same time do not see one another."""
    text = "{{#l}}{{#o}}{{n}}.{{.}}{{/o}} {{/l}}{{! threads }}"
    misses = placeholders._parsed.cache_info().misses
    expected = {n: filled(text, {"l": [1] * 50, "o": [n], "n": n}) for n in range(40)}
    with ThreadPoolExecutor(8) as pool:
        results = list(
            pool.map(lambda n: (n, filled(text, {"l": [1] * 50, "o": [n], "n": n})), [*expected] * 5)
        )
    assert all(result == expected[n] for n, result in results)
    assert expected[7] == "7.7 " * 50
    assert placeholders._parsed.cache_info().misses == misses + 1
