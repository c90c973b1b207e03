"""What `stat` tells of a file or a folder of files: enough to see a change without reading."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ENDINGS = (".yaml", ".yml", ".json")

Signature = tuple[int, int, int, int, int]
"""Modified and changed (ns), size (bytes), inode and device. Another signature means another state."""


def signature(found: os.stat_result) -> Signature:
    """Return the signature of what `stat` found."""
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev


@dataclass(frozen=True, slots=True)
class Survey:
    """All files of a source. `files` of a single file has its signature under the empty name."""

    top: Signature
    files: Mapping[str, Signature]
    is_folder: bool

    @property
    def size(self) -> int:
        """The bytes that a load would have to read."""
        return sum(each[2] for each in self.files.values())

    @property
    def newest_ns(self) -> int:
        """When anything here was modified last (nanoseconds since the epoch)."""
        return max([self.top[0], *(each[0] for each in self.files.values())])


def is_record_file(name: str) -> bool:
    """Tell whether a file of a folder holds a record: hidden ones and other endings do not."""
    return not name.startswith(".") and name.lower().endswith(ENDINGS)


def take_survey(path: Path) -> Survey:
    """Look at a file, or at a folder and every record file in it. Raises `OSError`."""
    found = path.stat()
    top = signature(found)
    if not stat.S_ISDIR(found.st_mode):
        return Survey(top, {"": top}, is_folder=False)
    files = {}
    with os.scandir(path) as entries:
        for entry in entries:
            if is_record_file(entry.name):
                try:
                    seen = entry.stat()
                except FileNotFoundError:  # a link to nothing, or gone by now
                    continue
                if stat.S_ISREG(seen.st_mode):
                    files[entry.name] = signature(seen)
    return Survey(top, files, is_folder=True)
