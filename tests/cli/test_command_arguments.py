"""Metadata on the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import click
import pytest

from webcall.cli.arguments import Moment, Window, parse_metadata


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Ada", "Ada"),
        ("", ""),
        ("a=b", "a=b"),
        ("5", 5),
        ("-0.5", -0.5),
        ("true", True),
        ("null", None),
        ('"5"', "5"),
        ('["a", 1.50]', ["a", 1.5]),
        ('{"b": null}', {"b": None}),
        # What JSON would write in another form is text: the zero of a phone number or a version is kept.
        ("0301234", "0301234"),
        ("1.10", "1.10"),
        ("1e3", "1e3"),
        ("1e999", "1e999"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_values(text: str, value: Any) -> None:
    """A value that is JSON counts as such; all else, and what JSON cannot hold, is text."""
    parsed = parse_metadata((f"name={text}",))["name"]
    assert parsed == value
    assert type(parsed) is type(value)


def test_dots_nest() -> None:
    """A dot in the name nests, and pairs with a common beginning meet in one object."""
    pairs = ("a.b.c=1", "a.b.d=x", "a.e=", 'f={"g": 2}', "f.h=3")
    assert parse_metadata(pairs) == {"a": {"b": {"c": 1, "d": "x"}, "e": ""}, "f": {"g": 2, "h": 3}}


@pytest.mark.parametrize(
    "pairs",
    [
        ("canary",),
        ("=canary",),
        ("a..b=canary",),
        (".a=canary",),
        ("a=canary", "a=canary"),
        ("a=canary", "a.b=canary"),
        ("a.b=canary", "a=canary"),
        ('a={"canary": 1, "canary": 2}',),
        ("a=" + "[" * 100_000,),
    ],
)
def test_bad_pairs_are_refused_without_quoting_them(pairs: tuple[str, ...]) -> None:
    """A pair without a name or with one that is taken is a fault that tells of no value."""
    with pytest.raises(click.BadParameter) as caught:
        parse_metadata(pairs)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(("text", "seconds"), [("1s", 1), ("10m", 600), ("24h", 86400), ("1d", 86400)])
def test_windows(text: str, seconds: int) -> None:
    """A join window is a number with a unit, up to what the setting allows."""
    assert Window().convert(text, None, None) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "10", "0s", "25h", "-1m", "1.5h", "m", "10 m", "999999999h"])
def test_bad_windows(text: str) -> None:
    """Anything else is a usage error that shows examples."""
    with pytest.raises(click.BadParameter, match="such as 90s, 10m or 2h"):
        Window().convert(text, None, None)


def test_moments() -> None:
    """A time without a zone is UTC, and one with a zone is the same moment in UTC."""
    assert Moment().convert("2999-01-31", None, None) == datetime(2999, 1, 31, tzinfo=UTC)
    moment = Moment().convert("2999-01-31T12:00:00+02:00", None, None)
    assert moment.isoformat() == "2999-01-31T10:00:00+00:00"
