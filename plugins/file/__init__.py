"""The backend `file`: API keys and assistants in YAML or JSON files that a person may edit by hand.

See `webcall.hookspecs` for what the hooks promise, and `watch` for how a change is noticed.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from marshmallow import Schema, ValidationError, fields, validates

from plugins.file.assistants import FileAssistants
from plugins.file.keys import FileKeys
from webcall import Backend, hookimpl

DEFAULT_API_KEYS = "instance/api_keys.yaml"
DEFAULT_ASSISTANTS = "instance/assistants.yaml"
DESCRIPTION = "YAML or JSON files, read again when they change"


class SettingsSchema(Schema):
    """The settings under `backends.file`; relative paths start at the working directory."""

    api_keys = fields.String(load_default=DEFAULT_API_KEYS)
    assistants = fields.String(load_default=DEFAULT_ASSISTANTS)

    @validates("api_keys")
    def check_api_keys(self, value: str, data_key: str) -> None:
        """Refuse a path that exists and is no file that can be read."""
        _check_readable(value, folder_allowed=False)

    @validates("assistants")
    def check_assistants(self, value: str, data_key: str) -> None:
        """Refuse a path that exists and is neither a file nor a folder that can be read."""
        _check_readable(value, folder_allowed=True)


def _check_readable(value: str, *, folder_allowed: bool) -> None:
    if not value or "\0" in value:
        raise ValidationError("not a path")
    try:
        mode = Path(value).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise ValidationError(f"{value} cannot be read: {error.strerror}") from error
    if stat.S_ISDIR(mode) and not folder_allowed:
        raise ValidationError(f"{value} is a folder; name a YAML or JSON file")
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise ValidationError(f"{value} is neither a file nor a folder")
    if not os.access(value, os.R_OK | (os.X_OK if stat.S_ISDIR(mode) else 0)):
        raise ValidationError(f"{value} cannot be read: give this user the permission")


def _keys(settings: dict[str, Any]) -> FileKeys:
    path = settings["api_keys"]
    return FileKeys(Path(path), may_be_missing=path == DEFAULT_API_KEYS)


def _assistants(settings: dict[str, Any]) -> FileAssistants:
    path = settings["assistants"]
    return FileAssistants(Path(path), may_be_missing=path == DEFAULT_ASSISTANTS)


@hookimpl
def webcall_key_validators() -> list[Backend]:
    """Offer API keys in a file."""
    return [Backend("file", DESCRIPTION, SettingsSchema, _keys)]


@hookimpl
def webcall_assistant_stores() -> list[Backend]:
    """Offer assistants in a file, or in a folder with a file each."""
    return [Backend("file", DESCRIPTION, SettingsSchema, _assistants)]
