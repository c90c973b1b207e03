"""What stands on a command line: metadata, lengths of time and moments."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, TypeVar

import click

from webcall.strict import Repeated, distinct

C = TypeVar("C", bound=Callable[..., Any])

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
# The highest value of the setting `call.join_window_s`.
_LONGEST_WINDOW_S = 86400
# Whoever needs longer to bring a new key everywhere has a second one.
_LONGEST_OVERLAP = timedelta(days=90)


def metadata_option(command: C) -> C:
    """Add `--metadata NAME=VALUE`, which gives the command an object called `metadata`."""
    return click.option(
        "--metadata",
        multiple=True,
        metavar="NAME=VALUE",
        callback=lambda ctx, param, pairs: parse_metadata(pairs),
        help="May be repeated. A dot in the name nests; a value in JSON counts as such, others are text.",
    )(command)


def parse_metadata(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Return an object from `name=value` pairs.

    A dot in the name nests. A value that is JSON counts as such, and as text otherwise; a number only
    in the form that JSON itself would give it, so that 1.10 and 1e3 stay what was typed. Raises
    `click.BadParameter`, which tells of no value.
    """
    metadata: dict[str, Any] = {}
    for position, pair in enumerate(pairs, start=1):
        name, equals, text = pair.partition("=")
        *path, last = name.split(".")
        if not equals or not last or not all(path):
            raise click.BadParameter(f"number {position} is not NAME=VALUE, such as customer.name=Ada")
        place = metadata
        for step in path:
            place = place.setdefault(step, {})
            if not isinstance(place, dict):
                _refuse_repeat(position)
        if last in place:
            _refuse_repeat(position)
        place[last] = _value(text, position)
    return metadata


def _refuse_repeat(position: int) -> NoReturn:
    raise click.BadParameter(f"number {position} gives a name that has a value already")


def _value(text: str, position: int) -> Any:
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=distinct)
    except RecursionError:
        raise click.BadParameter(f"number {position} has a value that is nested too deep") from None
    except Repeated:
        raise click.BadParameter(f"number {position} has an object with one name twice") from None
    except ValueError:
        return text
    typed_otherwise = isinstance(value, int | float) and json.dumps(value) != text
    return text if typed_otherwise else value


def _refuse(_: str) -> NoReturn:
    raise ValueError


def _finite(text: str) -> float:
    return number if math.isfinite(number := float(text)) else _refuse(text)


def _length(value: str, units: str) -> timedelta | None:
    match = re.fullmatch(rf"([0-9]{{1,6}})([{units}])", value)
    return timedelta(seconds=int(match[1]) * _SECONDS[match[2]]) if match else None


class Window(click.ParamType[timedelta]):
    """A length of time such as 10m, from a second to a day."""

    name = "DURATION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Return the length."""
        length = _length(value, "smhd")
        if length is None or not 1 <= length.total_seconds() <= _LONGEST_WINDOW_S:
            self.fail("not a length of time from 1s to 24h, such as 90s, 10m or 2h", param, ctx)
        return length


class Overlap(click.ParamType[timedelta]):
    """A length of time such as 24h, from a second to 90 days."""

    name = "DURATION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Return the length."""
        length = _length(value, "smhdw")
        if length is None or not timedelta(seconds=1) <= length <= _LONGEST_OVERLAP:
            self.fail("not a length of time from 1s to 90d, such as 30m, 24h or 7d", param, ctx)
        return length


class Moment(click.ParamType[datetime]):
    """A time to come: a length from now such as 90d, or a date."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the moment, in UTC."""
        try:
            moment = self._moment(value)
        except (ValueError, OverflowError):
            self.fail("not a time such as 90d, 12h, 30m, 2w, 2030-01-31 or 2030-01-31T12:00:00Z", param, ctx)
        if moment <= datetime.now(UTC):
            self.fail("not a time to come", param, ctx)
        return moment

    @staticmethod
    def _moment(value: str) -> datetime:
        length = _length(value, "mhdw")
        if length is not None:
            return datetime.now(UTC).replace(microsecond=0) + length
        moment = datetime.fromisoformat(value)
        # Without a zone it is UTC, as in records.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
