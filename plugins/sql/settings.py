"""The settings under `backends.sql`, checked without a connection."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from marshmallow import Schema, ValidationError, fields, pre_load, validate, validates

DIALECTS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
FIX = "write sqlite:///instance/webcall.db, or postgresql://user:password@host:port/database"


class SqlSettings(Schema):
    """Where the database is, how long one operation may take in seconds, and how many connections."""

    url = fields.String(load_default="sqlite:///instance/webcall.db")
    timeout_s = fields.Float(
        load_default=2.0,
        validate=validate.Range(min=0.1, max=60, error="not a number of seconds from {min} to {max}"),
    )
    pool_size = fields.Integer(
        load_default=8, validate=validate.Range(min=1, max=1000, error="not a number from {min} to {max}")
    )

    @pre_load
    def check_extra(self, data: Any, **_: Any) -> Any:
        """Raise `ValidationError` where the driver is not installed."""
        try:
            import sqlalchemy  # noqa: F401  # whether it is there

            if str(data.get("url")).startswith("postgres"):
                import psycopg  # noqa: F401
        except ImportError:
            raise ValidationError("needs the extra: pip install '.[sql]' in the checkout") from None
        return data

    @validates("url")
    def check_url(self, url: str, data_key: str) -> None:
        """Raise `ValidationError`, which quotes nothing of it, unless a database of ours can be meant."""
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import SQLAlchemyError

        try:
            parsed = make_url(url)
        except (SQLAlchemyError, ValueError):
            raise ValidationError(f"not a database URL: {FIX}") from None
        if parsed.drivername not in (*DIALECTS, *DIALECTS.values()):
            raise ValidationError(f"neither SQLite nor PostgreSQL: {FIX}")
        if not parsed.database:
            raise ValidationError(f"names no database: {FIX}")
        if parsed.get_backend_name() == "sqlite":
            _check_file(parsed.database, parsed.query)
            return
        if "@" in f"{parsed.host}{parsed.database}":
            # The driver would quote it as a host's name, with the end of the password in it.
            raise ValidationError("has an @ too many: in a user's name or password it is written %40")
        if any(not isinstance(value, str) for value in parsed.query.values()):
            raise ValidationError("an option stands twice: remove one of them")


def _check_file(path: str, options: Mapping[str, Any]) -> None:
    if options:
        raise ValidationError("a file takes no options: write its path alone")
    if path == ":memory:" or path.startswith("file:"):
        raise ValidationError(f"SQLite needs a file of its own, which all processes share: {FIX}")
    if not Path(path).absolute().parent.is_dir():
        raise ValidationError("the folder of the SQLite file is not there: make it first")


def engine_url(url: str) -> Any:
    """Return the URL for SQLAlchemy's engine, with the driver that the extra brings."""
    from sqlalchemy.engine import make_url

    parsed = make_url(url)
    return parsed.set(drivername=DIALECTS.get(parsed.drivername, parsed.drivername))
