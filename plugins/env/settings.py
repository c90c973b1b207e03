"""Reads and checks the variables, so that a malformed one is a fault of the start-up."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load

from webcall import RecordError
from webcall.records import check_assistant_record, check_key_record, hash_api_key, key_hash_of, key_id_of
from webcall.strict import Repeated, distinct

KEYS, KEY, OWNER, ASSISTANTS = "WEBCALL_API_KEYS", "WEBCALL_API_KEY", "WEBCALL_OWNER", "WEBCALL_ASSISTANTS"
DEFAULT_OWNER = "owner@localhost"
REQUIRED = str(fields.Field.default_error_messages["required"])


class EnvSettings(Schema):
    """No settings of its own: loading it reads the environment.

    The result holds `api_keys` and `assistants`, lists of checked records; of a plain key it holds
    only the hash. Raises `ValidationError` by variable, naming positions and fields and no values.
    """

    @post_load
    def read_environment(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Add the records of the environment to the (empty) settings."""
        faults: dict[str, list[str]] = {}
        api_keys = [_hashed(record) for record in _records(KEYS, check_key_record, faults)]
        hashes = [record["api_key_hash"] for record in api_keys]
        _refuse_repeats(KEYS, "key", hashes, faults)
        # A header's value cannot begin or end with a space, but a secret read from a file often does.
        plain = os.environ.get(KEY, "").strip()
        if plain:
            owner = os.environ.get(OWNER, "").strip() or DEFAULT_OWNER
            if hash_api_key(plain) in hashes:
                faults[KEY] = [f"this key is in {KEYS} too: remove one of them"]
            api_keys.append(_hashed({"api_key": plain, "user_email": owner}))
        assistants = _records(ASSISTANTS, check_assistant_record, faults)
        _refuse_repeats(ASSISTANTS, "assistant_id", [one["assistant_id"] for one in assistants], faults)
        if faults:
            raise ValidationError(faults)
        return {**data, "api_keys": api_keys, "assistants": assistants}


def _records(
    variable: str, check: Callable[[Any], None], faults: dict[str, list[str]]
) -> list[dict[str, Any]]:
    """Return the usable records of a variable; what is wrong with the others goes into `faults`."""
    text = os.environ.get(variable, "")
    if not text.strip():
        return []
    try:
        records = json.loads(text, object_pairs_hook=distinct)
    except json.JSONDecodeError as error:
        faults[variable] = [f"not JSON: {error.msg}, line {error.lineno} column {error.colno}"]
        return []
    except Repeated:
        faults[variable] = ["a field stands twice in one record: remove one of them"]
        return []
    except (ValueError, RecursionError):
        faults[variable] = ["not JSON that can be read: a number too long, or nested too deep"]
        return []
    if not isinstance(records, list):
        faults[variable] = ["not a JSON array of records: put the record between [ and ]"]
        return []
    usable = []
    for position, record in enumerate(records, start=1):
        try:
            check(record)
        except RecordError as error:
            told = str(error).partition(": ")[2].replace(REQUIRED, "missing")
            faults.setdefault(variable, []).append(f"record {position}: {told}")
        else:
            usable.append(record)
    return usable


def _hashed(record: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in record.items() if name != "api_key"}
    return {**kept, "api_key_hash": key_hash_of(record), "api_key_prefix": key_id_of(record)}


def _refuse_repeats(variable: str, what: str, names: list[str], faults: dict[str, list[str]]) -> None:
    if variable in faults:
        return  # positions among the usable records alone would mislead
    for position, name in enumerate(names, start=1):
        first = names.index(name) + 1
        if first != position:
            faults.setdefault(variable, []).append(
                f"record {position}: the same {what} as record {first}: remove one of them"
            )
