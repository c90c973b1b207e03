"""A read-only index of records in a file of its own, mapped into memory.

Layout: every record as JSON text, one after the other; a table sorted by digest (SHA-256 of the
look-up key, and of the owner, offset and length of the record); a footer (number of records, offset
of the table).
A look-up bisects the table and parses one record, however many there are, and opening one parses
nothing: that is what keeps a reload off the interpreter lock.
"""

from __future__ import annotations

import bisect
import hashlib
import json
import mmap
import struct
from collections.abc import Iterable, Iterator
from typing import IO, Any

from webcall.interfaces import Record

_ENTRY = struct.Struct(">32s32sQQ")
_FOOTER = struct.Struct(">QQ")
_DIGEST_SIZE = 32
_OWNER = "assistant_created_by_email"


def digest_of(key: str) -> bytes:
    """Return what a look-up key is sorted by; any text has one, lone surrogates included."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def write_snapshot(records: Iterable[tuple[str, Any]], out: IO[bytes]) -> None:
    """Write pairs of look-up key and record to a file that stands at its beginning."""
    table = []
    offset = 0
    for key, record in records:
        text = json.dumps(record, separators=(",", ":")).encode("ascii")
        out.write(text)
        table.append((digest_of(key), digest_of(str(record.get(_OWNER))), offset, len(text)))
        offset += len(text)
    for entry in sorted(table):
        out.write(_ENTRY.pack(*entry))
    out.write(_FOOTER.pack(len(table), offset))
    out.flush()


class Snapshot:
    """An open index. Threads and forked children may share it; its memory goes with the last of them."""

    def __init__(self, file: IO[bytes]) -> None:
        self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._count, self._table = _FOOTER.unpack_from(self._map, len(self._map) - _FOOTER.size)

    def __len__(self) -> int:
        return int(self._count)

    def __getitem__(self, position: int) -> bytes:
        """Return the digest at a place in the table: what `bisect` asks for."""
        start = self._table + position * _ENTRY.size
        return self._map[start : start + _DIGEST_SIZE]

    def find(self, key: str, owner: str | None = None) -> Record | None:
        """Return the record that a look-up key has, or None.

        With `owner` another's assistant is passed by unparsed: its size does not show in the time.
        """
        digest = digest_of(key)
        position = bisect.bisect_left(self, digest)
        if position == len(self) or self[position] != digest:
            return None
        _, owned, offset, length = _ENTRY.unpack_from(self._map, self._table + position * _ENTRY.size)
        if owner is not None and owned != digest_of(owner):
            return None
        return self._record(offset, length)

    def records(self) -> Iterator[Record]:
        """Yield every record in the order of the file, parsing one at a time."""
        entries = (
            _ENTRY.unpack_from(self._map, self._table + position * _ENTRY.size)
            for position in range(len(self))
        )
        for offset, length in sorted((offset, length) for _, _, offset, length in entries):
            yield self._record(offset, length)

    def _record(self, offset: int, length: int) -> Record:
        record: Record = json.loads(self._map[offset : offset + length])
        return record
