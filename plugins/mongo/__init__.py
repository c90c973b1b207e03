"""Backend `mongo`: API keys and assistants in the collections of a MongoDB database."""

from __future__ import annotations

from plugins.mongo.assistants import MongoAssistants
from plugins.mongo.connection import Connection
from plugins.mongo.keys import MongoKeys
from plugins.mongo.settings import MongoSettings
from webcall import Backend, hookimpl

DESCRIPTION = "MongoDB, collections api_keys and assistants; also those of an existing deployment"


@hookimpl
def webcall_key_validators() -> list[Backend]:
    """Offer the keys of the collection `api_keys`."""
    return [Backend("mongo", DESCRIPTION, MongoSettings, lambda settings: MongoKeys(Connection(**settings)))]


@hookimpl
def webcall_assistant_stores() -> list[Backend]:
    """Offer the assistants of the collection `assistants`."""
    return [
        Backend("mongo", DESCRIPTION, MongoSettings, lambda settings: MongoAssistants(Connection(**settings)))
    ]
