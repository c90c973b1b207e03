"""The two sides of the backend: dictionaries by hash and by id."""

from __future__ import annotations

import bisect
import copy
from collections.abc import Iterable

from webcall import Assistant, Caller
from webcall.interfaces import Record
from webcall.records import assistant_for, caller_from_record, hash_api_key


class EnvKeys:
    """Knows the keys whose records it is given, each with its `api_key_hash`."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._by_hash = {record["api_key_hash"]: record for record in records}

    def validate(self, api_key: str) -> Caller | None:
        """Return whose key it is, or None; raises `Refused` if it is revoked or expired."""
        record = self._by_hash.get(hash_api_key(api_key))
        return None if record is None else caller_from_record(record)

    def list_keys(self) -> list[Record]:
        """Return every record, a plain key replaced by its hash."""
        return copy.deepcopy(list(self._by_hash.values()))


class EnvAssistants:
    """Knows the assistants whose records it is given."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._by_id = {record["assistant_id"]: record for record in records}
        self._ids_of: dict[str, list[str]] = {}
        for assistant_id in sorted(self._by_id):
            owner = self._by_id[assistant_id]["assistant_created_by_email"]
            self._ids_of.setdefault(owner, []).append(assistant_id)

    def get(self, assistant_id: str, caller: Caller) -> Assistant | None:
        """Return the caller's own assistant, or None; raises `Refused` if it is inactive."""
        record = self._by_id.get(assistant_id)
        # Another's is passed by before the copy, so that it takes no longer than what is not there.
        if record is None or record["assistant_created_by_email"] != caller.email:
            return None
        # A copy: what one request does to the record must not reach the next one's.
        return assistant_for(caller, copy.deepcopy(record))

    def list_assistants(self) -> list[Record]:
        """Return every record."""
        return copy.deepcopy(list(self._by_id.values()))

    def page_of_assistants(self, caller: Caller, after: str, limit: int) -> list[Record]:
        """Return at most `limit` of the caller's records with ids past `after`, sorted by id."""
        ids = self._ids_of.get(caller.email, [])
        first = bisect.bisect_right(ids, after)
        return copy.deepcopy([self._by_id[each] for each in ids[first : first + limit]])

    def find_assistant(self, assistant_id: str) -> Record | None:
        """Return the record, whoever owns it."""
        return copy.deepcopy(self._by_id.get(assistant_id))
