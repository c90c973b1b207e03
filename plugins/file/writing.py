"""Safe changes to files: one writer at a time, and a reader sees all of a change or none of it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from webcall import BackendError

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


def make_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing, for their owner only. Raises `OSError`."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)


@contextlib.contextmanager
def writing(path: Path, lock: Path) -> Iterator[None]:
    """Hold the lock file, made with its folder, and turn an `OSError` inside into a `BackendError`."""
    try:
        make_folder(lock.parent)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
    except OSError as error:
        raise BackendError(f"{path}: cannot be written: {error.strerror or type(error).__name__}") from error


def replace_file(path: Path, text: str) -> None:
    """Put `text` in the file's place at once and for good, readable by its owner only. Raises `OSError`."""
    # A lone surrogate becomes \udXXX, which is how JSON writes it; YAML's text has none.
    content = text.encode("utf-8", "backslashreplace")
    descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            _keep_owner(path, descriptor)
            file.flush()
            os.fsync(descriptor)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _keep_owner(path: Path, descriptor: int) -> None:
    # Root may write for a service that runs as another user, and that one has to read it.
    if os.geteuid() == 0:
        before = path if path.exists() else path.parent
        found = before.stat()
        os.fchown(descriptor, found.st_uid, found.st_gid)


def sync_folder(folder: Path) -> None:
    """Make a folder's changed names last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
