"""What a section of config.yaml is made of: its base, and fields with a default and a meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, fields, post_load, pre_load, validate

from webcall.config.fields import Backends, RateField, Whole
from webcall.rates import parse_rate


class Section(Schema):
    """Base of the schemas of one section each; `MAKES` is the dataclass that it loads.

    A section that is null counts as empty: in YAML, that is one whose lines are all commented out.
    """

    MAKES: type[Any]

    @pre_load
    def _null_sections(self, data: Any, **_: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        sections = [name for name, kind in self.fields.items() if isinstance(kind, fields.Nested | Backends)]
        # A section that is not there has required settings and defaults in it all the same.
        return {**data, **{name: {} for name in sections if data.get(name) is None}}

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> Any:
        return self.MAKES(**data)


def seconds(default: float, low: float, high: float, means: str) -> fields.Float:
    """Return a field for a number of seconds."""
    return fields.Float(
        load_default=default,
        validate=validate.Range(low, high, error="not a number of seconds from {min} to {max}"),
        metadata={"description": means},
    )


def whole(default: int, low: int, high: int, means: str) -> Whole:
    """Return a field for a whole number."""
    return Whole(
        load_default=default,
        validate=validate.Range(low, high, error="not a whole number from {min} to {max}"),
        metadata={"description": means},
    )


def rate(default: str, means: str) -> RateField:
    """Return a field for a rate."""
    return RateField(load_default=parse_rate(default), metadata={"description": means})


def text(means: str, **kwargs: Any) -> fields.String:
    """Return a field for text; `kwargs` are marshmallow's."""
    return fields.String(metadata={"description": means}, **kwargs)
