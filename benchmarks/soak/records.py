"""The soak's own keys and assistants, some in files and some in MongoDB, changed while it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pymongo

from webcall.records import PREFIX_LENGTH, hash_api_key, new_api_key

OWNER, STRANGER = "ada@example.com", "eve@example.com"
PAGE = "https://shop.example.com"
DATABASE = "soak"
NOBODY, WORKER = "soak-nobody", "soak-worker"
"""Agents: one that no worker serves, for calls that nobody joins, and the project's own worker."""

CANARY = "SOAKCANARY"
"""In prompts and metadata: must be in no log."""

_PROMPT = f"{CANARY} You talk with {{{{customer.name}}}}. {{{{note}}}}"
Record = dict[str, Any]


def _assistant(name: str, **more: Any) -> Record:
    return {
        "assistant_id": name,
        "assistant_created_by_email": OWNER,
        "assistant_prompt": _PROMPT,
        "assistant_start_instruction": "Greet {{customer.name}}.",
        "agent_name": NOBODY,
        **more,
    }


def _key(api_key: str, **more: Any) -> Record:
    return {
        "api_key_hash": hash_api_key(api_key),
        "api_key_prefix": api_key[:PREFIX_LENGTH],
        "user_email": OWNER,
        **more,
    }


class Records:
    """Keys by what they are for, and the files and the database that hold them."""

    def __init__(self, folder: Path, mongo_uri: str) -> None:
        """Make the records; `write` and `fill_mongo` put them in place."""
        self.key_file, self.assistant_file = folder / "keys.json", folder / "assistants.json"
        self._mongo_uri = mongo_uri
        self.steady, self.stored, self.few, self.slow, self.revoked, self.stored_revoked = (
            new_api_key() for _ in range(6)
        )
        self.page = new_api_key(publishable=True)
        page = {"allowed_assistants": ["shop"], "allowed_origins": [PAGE], "allowed_metadata": ["customer"]}
        self.keys = [
            _key(self.steady),
            _key(self.few, max_concurrent_calls=2),
            _key(self.slow, rate_limit="10/minute"),
            _key(self.revoked, is_active=False),
            _key(self.page, max_concurrent_calls=1000, **page),
        ]
        self.assistants = [
            _assistant("desk"),
            _assistant("shop"),
            _assistant("pair"),
            _assistant("voice", assistant_mode="realtime"),
            _assistant("resting", assistant_is_active=False),
            _assistant("foreign", assistant_created_by_email=STRANGER),
            _assistant("reception", agent_name=WORKER),
        ]

    @property
    def secrets(self) -> list[str]:
        """Every key in plain: must be in no log."""
        return [self.steady, self.stored, self.few, self.slow, self.revoked, self.stored_revoked, self.page]

    def listed(self) -> set[str]:
        """Return the ids that a listing of the owner's assistants holds, whatever has been added."""
        return {"desk", "shop", "pair", "voice", "reception", "kept"}

    def write(self) -> None:
        """Write both files."""
        self.write_keys()
        self.write_assistants()

    def write_keys(self, text: str | None = None) -> None:
        """Replace the file of keys at once, by `text` if it is given."""
        _replace(self.key_file, json.dumps(self.keys, indent=1) if text is None else text)

    def write_assistants(self, text: str | None = None) -> None:
        """Replace the file of assistants at once, by `text` if it is given."""
        _replace(self.assistant_file, json.dumps(self.assistants, indent=1) if text is None else text)

    def add_key(self) -> str:
        """Write one more key into the file and return it."""
        api_key = new_api_key()
        self.keys.append(_key(api_key))
        self.write_keys()
        return api_key

    def drop_key(self, api_key: str, *, keep_record: bool) -> None:
        """Revoke a key in the file: by its record's `is_active`, or by leaving the record out."""
        wanted = hash_api_key(api_key)
        for record in [one for one in self.keys if one["api_key_hash"] == wanted]:
            if keep_record:
                record["is_active"] = False
            else:
                self.keys.remove(record)
        self.write_keys()

    def set_assistant(self, name: str, **changed: Any) -> None:
        """Write an assistant into the file, changed or new."""
        found = next((one for one in self.assistants if one["assistant_id"] == name), None)
        if found is None:
            self.assistants.append(_assistant(name, **changed))
        else:
            found.update(changed)
        self.write_assistants()

    def fill_mongo(self) -> None:
        """Put MongoDB's records in place."""
        with self._database() as client:
            database = client[DATABASE]
            database.api_keys.delete_many({})
            database.assistants.delete_many({})
            database.api_keys.insert_many([_key(self.stored), _key(self.stored_revoked, is_active=False)])
            database.assistants.insert_one(_assistant("kept"))

    def add_stored_key(self) -> str:
        """Put one more key into MongoDB and return it."""
        api_key = new_api_key()
        with self._database() as client:
            client[DATABASE].api_keys.insert_one(_key(api_key))
        return api_key

    def revoke_stored_key(self, api_key: str) -> None:
        """Revoke a key in MongoDB."""
        with self._database() as client:
            wanted = {"api_key_hash": hash_api_key(api_key)}
            client[DATABASE].api_keys.update_one(wanted, {"$set": {"is_active": False}})

    def _database(self) -> pymongo.MongoClient[Record]:
        return pymongo.MongoClient(self._mongo_uri, timeoutMS=10_000)


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text, "utf-8")
    new.replace(path)
