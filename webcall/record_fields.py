"""The kinds of fields that stored records have beside marshmallow's own."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any

from marshmallow import ValidationError, fields


class Moment(fields.Field[datetime]):
    """A date or time as records have it: a datetime (naive means UTC), a date, or RFC 3339 text."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError as error:
                raise ValidationError("not a time such as 2030-01-31T12:00:00Z") from error
        if isinstance(value, date) and not isinstance(value, datetime):
            value = datetime.combine(value, time())
        if not isinstance(value, datetime):
            raise ValidationError("not a time such as 2030-01-31T12:00:00Z")
        return value if value.utcoffset() is not None else value.replace(tzinfo=UTC)


class Text(fields.String):
    """Text; marshmallow would take bytes for it, which the look-ups would not find again."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if isinstance(value, bytes):
            raise self.make_error("invalid")
        return super()._deserialize(value, attr, data, **kwargs)
