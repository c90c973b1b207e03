"""A read-only index of records in a file of its own, mapped into memory.

Layout: every record as JSON text, one after the other; a table sorted by digest (SHA-256 of the
look-up key, and of the owner, offset and length of the record); a table of the records that have an
owner, sorted by the owner's digest and then by look-up key; a footer (number of records in both
tables, offset of the first).
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
_OWNED = struct.Struct(">32sQQ")
_FOOTER = struct.Struct(">QQQ")
_DIGEST_SIZE = 32
_ID, _OWNER = "assistant_id", "assistant_created_by_email"


def digest_of(key: str) -> bytes:
    """Return what a look-up key is sorted by; any text has one, lone surrogates included."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def write_snapshot(records: Iterable[tuple[str, Any]], out: IO[bytes]) -> None:
    """Write pairs of look-up key and record to a file that stands at its beginning."""
    table = []
    owned = []
    offset = 0
    for key, record in records:
        text = json.dumps(record, separators=(",", ":")).encode("ascii")
        out.write(text)
        owner = digest_of(str(record.get(_OWNER)))
        table.append((digest_of(key), owner, offset, len(text)))
        if _OWNER in record:
            owned.append((owner, key, offset, len(text)))
        offset += len(text)
    for entry in sorted(table):
        out.write(_ENTRY.pack(*entry))
    for owner, _, *place in sorted(owned):
        out.write(_OWNED.pack(owner, *place))
    out.write(_FOOTER.pack(len(table), len(owned), offset))
    out.flush()


class Snapshot:
    """An open index. Threads and forked children may share it; its memory goes with the last of them."""

    def __init__(self, file: IO[bytes]) -> None:
        self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        footer = len(self._map) - _FOOTER.size
        self._count, self._owned_count, self._table = _FOOTER.unpack_from(self._map, footer)
        self._owned_table = self._table + self._count * _ENTRY.size

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
        text = self.find_text(key, owner)
        return None if text is None else _record(text)

    def find_text(self, key: str, owner: str | None = None) -> bytes | None:
        """Return the same as the JSON text that it is."""
        digest = digest_of(key)
        position = bisect.bisect_left(self, digest)
        if position == len(self) or self[position] != digest:
            return None
        _, owned, offset, length = _ENTRY.unpack_from(self._map, self._table + position * _ENTRY.size)
        if owner is not None and owned != digest_of(owner):
            return None
        return self._map[offset : offset + length]

    def page(self, owner: str, after: str, limit: int) -> list[Record]:
        """Return at most `limit` of an owner's records with keys past `after`, sorted by key.

        Besides them it parses as many records as bisecting the owner's needs.
        """
        digest = digest_of(owner)
        places = range(self._owned_count)
        first = bisect.bisect_left(places, digest, key=lambda at: self._owned(at)[0])
        end = bisect.bisect_right(places, digest, first, key=lambda at: self._owned(at)[0])
        if after:
            first = bisect.bisect_right(places, after, first, end, key=lambda at: str(self._at(at)[_ID]))
        return [self._at(at) for at in range(first, min(end, first + limit))]

    def _owned(self, position: int) -> tuple[bytes, int, int]:
        entry: tuple[bytes, int, int] = _OWNED.unpack_from(
            self._map, self._owned_table + position * _OWNED.size
        )
        return entry

    def _at(self, position: int) -> Record:
        _, offset, length = self._owned(position)
        return _record(self._map[offset : offset + length])

    def records(self) -> Iterator[Record]:
        """Yield every record in the order of the file, parsing one at a time."""
        entries = (
            _ENTRY.unpack_from(self._map, self._table + position * _ENTRY.size)
            for position in range(len(self))
        )
        for offset, length in sorted((offset, length) for _, _, offset, length in entries):
            yield _record(self._map[offset : offset + length])


def _record(text: bytes) -> Record:
    record: Record = json.loads(text)
    return record
