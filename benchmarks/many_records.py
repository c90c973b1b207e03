"""Many keys and assistants, in files and in MongoDB, with a deployment's own among them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.contestants import ASSISTANT, OWNER, Deployment
from plugins.mongo import assistants, keys
from plugins.mongo.connection import Connection
from tests.support.mongo import MongoServer
from webcall.records import hash_api_key

_AT_ONCE = 10_000
_FILL_TIMEOUT_S = 60.0


def many_keys(count: int) -> Iterator[dict[str, Any]]:
    """Give the records of so many keys that nobody has."""
    for number in range(count):
        yield {"api_key_hash": hash_api_key(f"lvk_{number:043d}"), "user_email": f"{number}@example.com"}


def many_assistants(count: int) -> Iterator[dict[str, Any]]:
    """Give so many small assistants."""
    for number in range(count):
        owner = f"{number}@example.com"
        yield {
            "assistant_id": f"other-{number}",
            "assistant_created_by_email": owner,
            "assistant_prompt": "Hi",
        }


def in_files(folder: Path, deployment: Deployment, count: int) -> dict[str, str]:
    """Write the deployment's records among `count` others; return the settings that name the files."""
    folder.mkdir()
    for name, others in (("keys", many_keys(count)), ("assistants", many_assistants(count))):
        own = json.loads((deployment.folder / f"{name}.json").read_text())
        (folder / f"{name}.json").write_text(json.dumps([*others, *own]))
    return {
        "WEBCALL_API_KEYS_FILE": str(folder / "keys.json"),
        "WEBCALL_ASSISTANTS_FILE": str(folder / "assistants.json"),
    }


def in_mongo(server: MongoServer, deployment: Deployment, count: int) -> dict[str, str]:
    """Put the deployment's records among `count` others; return the settings that name the database."""
    database = f"scale_{count}"
    own_key = {"api_key_hash": hash_api_key(deployment.api_key), "user_email": OWNER}
    with server.client() as client:
        for name, others, own in (
            (keys.COLLECTION, many_keys(count), own_key),
            (assistants.COLLECTION, many_assistants(count), dict(ASSISTANT)),
        ):
            collection = client[database][name]
            while batch := list(islice(others, _AT_ONCE)):
                collection.insert_many(batch, ordered=False)
            collection.insert_one(own)
    # A deployment's indexes, and after the records: an index that is there slows each insertion down.
    connection = Connection(server.uri, database, _FILL_TIMEOUT_S)
    keys.MongoKeys(connection).prepare()
    assistants.MongoAssistants(connection).prepare()
    connection.close()
    return {
        "WEBCALL_VALIDATORS": "mongo",
        "WEBCALL_STORES": "mongo",
        "MONGODB_URI": server.uri,
        "MONGODB_DATABASE": database,
    }
