"""The settings under `backends.mongo`, checked without a connection."""

from __future__ import annotations

import re
import warnings
from urllib.parse import parse_qsl

from marshmallow import Schema, ValidationError, fields, validate, validates
from pymongo import MongoClient
from pymongo.errors import PyMongoError

SCHEMES = ("mongodb://", "mongodb+srv://")
FIX = (
    "write mongodb://user:password@host:port/?option=value, with user and password percent-encoded "
    "(urllib.parse.quote_plus)"
)


class MongoSettings(Schema):
    """Where the database is, and how long one whole operation may take, in seconds."""

    uri = fields.String(load_default="mongodb://127.0.0.1:27017")
    database = fields.String(
        load_default="webcall",
        validate=validate.Regexp(
            r'[^/\\. "$\x00]{1,63}\Z',
            error='not a database name: 1 to 63 characters without / \\ . " $ or space',
        ),
    )
    timeout_s = fields.Float(
        load_default=2.0,
        validate=validate.Range(min=0.1, max=60, error="not a number of seconds from {min} to {max}"),
    )

    @validates("uri")
    def check_uri(self, uri: str, data_key: str) -> None:
        """Raise `ValidationError` unless the driver takes it; of the URI it names options at most."""
        if not uri.startswith(SCHEMES):
            raise ValidationError(f"does not begin with {' or '.join(SCHEMES)}: {FIX}")
        with warnings.catch_warnings(record=True) as complaints:
            # The driver only warns of an option that it leaves aside; an operator would never see it.
            warnings.simplefilter("always")
            try:
                # Asks for no DNS answer yet, even of mongodb+srv.
                MongoClient[dict[str, object]](uri, connect=False).close()
            except (PyMongoError, ValueError, TypeError, OSError) as error:
                # Not the driver's text: it quotes pieces of a URI that it cannot cut, passwords among them.
                raise ValidationError(f"not a usable MongoDB URI ({type(error).__name__}): {FIX}") from None
        if complaints:
            names = _options_named(uri, [str(complaint.message) for complaint in complaints])
            raise ValidationError(f"an option is unknown or has an unusable value{names}: fix or remove it")


def _options_named(uri: str, complaints: list[str]) -> str:
    """Return the names of the URI's options that the driver complains of, as `: a, b`."""
    options = re.split(r"[?]", uri, maxsplit=1)[-1]
    if "@" in options:
        return ""  # perhaps no option at all but the end of a password with a ? in it
    names = [name for name, _ in parse_qsl(options, keep_blank_values=True)]
    told = [name for name in names if any(name.lower() in text.lower() for text in complaints)]
    return f": {', '.join(told)}" if told else ""
