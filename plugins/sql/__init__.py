"""Backend `sql`: API keys and assistants in the tables of an SQLite or PostgreSQL database.

The driver is imported when the backend is in use, so that a deployment without it needs no extra.
"""

from __future__ import annotations

from typing import Any

from plugins.sql.settings import SqlSettings
from webcall import Backend, hookimpl

DESCRIPTION = "SQLite or PostgreSQL by SQLAlchemy, tables webcall_api_keys and webcall_assistants"


def _keys(settings: dict[str, Any]) -> Any:
    from plugins.sql.connection import Connection
    from plugins.sql.keys import SqlKeys

    return SqlKeys(Connection(**settings))


def _assistants(settings: dict[str, Any]) -> Any:
    from plugins.sql.assistants import SqlAssistants
    from plugins.sql.connection import Connection

    return SqlAssistants(Connection(**settings))


@hookimpl
def webcall_key_validators() -> list[Backend]:
    """Offer the keys of the table `webcall_api_keys`."""
    return [Backend("sql", DESCRIPTION, SqlSettings, _keys)]


@hookimpl
def webcall_assistant_stores() -> list[Backend]:
    """Offer the assistants of the table `webcall_assistants`."""
    return [Backend("sql", DESCRIPTION, SqlSettings, _assistants)]
