"""Both sides: what is asked about a key and about an assistant, and what is made of the answers."""

from __future__ import annotations

from typing import Any

from plugins.http.client import Client, Denied, NotMine
from webcall import Assistant, Caller, RecordError, Refused
from webcall.records import as_json_value, assistant_for, caller_from_record, hash_api_key

# Nothing longer is a key or an id: the service is not asked.
LONGEST = 8192


class HttpSide:
    """What both sides do alike."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def ping(self) -> str | None:
        """Raise `BackendError` unless the service answers with its signature."""
        self._ask("ping", {})
        return None

    def close(self) -> None:
        """Close the connections of this process."""
        self._client.close()

    def _ask(self, what: str, question: dict[str, Any]) -> dict[str, Any] | None:
        try:
            record = self._client.ask(what, question)
        except NotMine:
            return None
        except Denied:
            raise Refused("the service refuses it") from None
        if not isinstance(record, dict):
            raise RecordError(f"http: the record of {what} is no object")
        return record


class HttpKeys(HttpSide):
    """Knows the keys that the service knows."""

    def __init__(self, client: Client, *, send_key: bool = False) -> None:
        """Take the client, and whether the key itself is sent and not its SHA-256."""
        super().__init__(client)
        self._send_key = send_key

    def validate(self, api_key: str) -> Caller | None:
        """Return whose key it is, or None; raises `Refused` if it is revoked or expired.

        One request. `BackendError` for an outage, `RecordError` for an unusable record.
        """
        if not _askable(api_key):
            return None
        key_hash = hash_api_key(api_key)
        question = {"api_key": api_key} if self._send_key else {"api_key_hash": key_hash}
        record = self._ask("keys", question)
        if record is None:
            return None
        if record.get("api_key_hash", key_hash) != key_hash:
            # It need not repeat the hash; one of another key, or of none, is no "not mine" but a mistake.
            raise RecordError("http: the record of keys has another api_key_hash than the one asked for")
        return caller_from_record({**record, "api_key_hash": key_hash, "api_key": None})


class HttpAssistants(HttpSide):
    """Knows the assistants that the service knows."""

    def get(self, assistant_id: str, caller: Caller) -> Assistant | None:
        """Return the caller's own assistant, or None; raises `Refused` if it is inactive.

        One request, which says who asks. `BackendError` for an outage, `RecordError` for an unusable
        record.
        """
        if not (_askable(assistant_id) and _askable(caller.email)):
            return None
        question = {
            "assistant_id": assistant_id,
            "owner": caller.email,
            "org": caller.org,
            "subject": caller.subject,
        }
        record = self._ask("assistants", as_json_value(question))
        if record is None:
            return None
        if record.get("assistant_id") != assistant_id:
            raise RecordError("http: the record of assistants is not about the assistant_id asked for")
        return assistant_for(caller, record)


def _askable(value: str) -> bool:
    try:
        return len(value.encode()) <= LONGEST
    except UnicodeEncodeError:
        return False
