"""Reading what an operator named: faults tell the kind, and never the contents."""

from __future__ import annotations

from pathlib import Path

MAX_SECRET_BYTES = 64 * 1024


class CannotRead(Exception):
    """A file cannot be used. The message says why."""


def text_of(path: Path, most_bytes: int) -> str:
    """Return a file's text, without a byte order mark.

    Raises `FileNotFoundError` if it is not there, and `CannotRead` for everything else.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise CannotRead(f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise CannotRead("not a path") from None
    if len(content) > most_bytes:
        raise CannotRead(f"larger than {most_bytes // 1024} KiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CannotRead("not UTF-8") from None


def secret_of(path: Path) -> str:
    """Return the secret in a file, without the newlines at its end, which editors and `echo` write.

    Raises as `text_of` does.
    """
    try:
        # A pipe would hold up every reload until somebody writes into it.
        other = path.exists() and not path.is_file()
    except OSError as error:
        raise CannotRead(f"cannot be read: {error.strerror}") from None
    if other:
        raise CannotRead("cannot be read: not a file")
    return text_of(path, MAX_SECRET_BYTES).rstrip("\r\n")
