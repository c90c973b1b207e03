"""The ledger in Redis, shared by all processes. Needs the extra `redis`.

One hash for each call, `webcall:call:<room>`, and one sorted set of rooms by the moment at which their
entries are overdue, in milliseconds of Redis's own clock. Each method is one script, which Redis runs by
itself. What nobody takes out expires a day after it was due. What is taken out is kept for some seconds under
a token of who asked, since redis-py asks again where the answer was lost.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

from webcall.core.endings import JOINED_AT, Entry, Fact, Kept
from webcall.core.leases import CLOCK_TOLERANCE_S
from webcall.core.redis_in_time import drop_kept
from webcall.core.storage import redis_client

_CALL, _DUE, _TAKEN = "webcall:call:", "webcall:calls-due", "webcall:call-taken:"
# Names of what is kept beside the facts begin with this.
_OWN = "="
_FORGOTTEN_S = 24 * 3600
# Longer than one exchange with its repeats (webcall.core.redis_in_time).
_TAKEN_MS = 5000

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# KEYS: the call, those that are due. ARGV: room, entry, how long it lasts and is remembered after that (ms).
_WRITE = (
    _NOW
    + """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local due = now + ARGV[3]
redis.call('HSET', KEYS[1], '=entry', ARGV[2], '=since', now)
redis.call('PEXPIREAT', KEYS[1], due + ARGV[4])
redis.call('ZADD', KEYS[2], due, ARGV[1])
local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
redis.call('PEXPIREAT', KEYS[2], last[2] + ARGV[4])
return 1
"""
)

# ARGV[1], ARGV[2]: when LiveKit made the room (-1: not known) and a tolerance, in milliseconds.
_OURS = """
local since = redis.call('HGET', KEYS[1], '=since')
if not since then return false end
local made = tonumber(ARGV[1])
if made >= 0 and made < since - ARGV[2] then return false end
"""

# KEYS: the call. ARGV from 3 on: the name whose first value counts, then names and values.
_NOTE = (
    _OURS
    + """
local order = redis.call('HINCRBY', KEYS[1], '=notes', 1)
for i = 4, #ARGV, 2 do
  redis.call(ARGV[i] == ARGV[3] and 'HSETNX' or 'HSET', KEYS[1], ARGV[i], order .. ' ' .. ARGV[i + 1])
end
return 1
"""
)

# KEYS: the call, those that are due, what this asker has taken.
# ARGV from 3 on: room, how long what is taken is kept (ms).
_POP = (
    """
local taken = redis.call('HGETALL', KEYS[3])
if #taken > 0 then return taken end
"""
    + _OURS
    + """
local found = redis.call('HGETALL', KEYS[1])
redis.call('RENAME', KEYS[1], KEYS[3])
redis.call('PEXPIRE', KEYS[3], ARGV[4])
redis.call('ZREM', KEYS[2], ARGV[3])
return found
"""
)

# KEYS: those that are due, the names of what this asker has taken.
# ARGV: how many, the beginning of a call's key, how long what is taken is kept (ms).
_OVERDUE = (
    _NOW
    + """
local found = {}
for _, taken in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
  found[#found + 1] = redis.call('HGETALL', taken)
end
if #found > 0 then return found end
for _, room in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])) do
  local call, taken = ARGV[2] .. room, KEYS[2] .. ':' .. room
  if redis.call('EXISTS', call) == 1 then
    found[#found + 1] = redis.call('HGETALL', call)
    redis.call('RENAME', call, taken)
    redis.call('PEXPIRE', taken, ARGV[3])
    redis.call('RPUSH', KEYS[2], taken)
    redis.call('PEXPIRE', KEYS[2], ARGV[3])
  end
  redis.call('ZREM', KEYS[1], room)
end
return found
"""
)


class RedisLedger:
    """A `LedgerStore` in Redis. Its methods raise `redis.RedisError` in an outage."""

    def __init__(self, storage_uri: str) -> None:
        """Take `limits.storage_uri`. Opens no connection."""
        self._client = redis_client(storage_uri)
        self._write = self._client.register_script(_WRITE)
        self._note = self._client.register_script(_NOTE)
        self._pop = self._client.register_script(_POP)
        self._overdue = self._client.register_script(_OVERDUE)

    def write(self, entry: Entry, lasts_s: float) -> bool:
        """Keep an entry unless its room has one."""
        room = entry.room_name
        args: list[str | int] = [room, entry.as_text(), round(lasts_s * 1000), _FORGOTTEN_S * 1000]
        return bool(self._write(keys=[_CALL + room, _DUE], args=args))

    def note(self, room: str, facts: Mapping[str, str], room_since: float | None) -> None:
        """Add facts to the room's entry."""
        pairs = [text for pair in facts.items() for text in pair]
        self._note(keys=[_CALL + room], args=[*_age(room_since), JOINED_AT, *pairs])

    def pop(self, room: str, room_since: float | None = None) -> Kept | None:
        """Take the room's entry out."""
        keys = [_CALL + room, _DUE, _taken()]
        found = self._pop(keys=keys, args=[*_age(room_since), room, _TAKEN_MS])
        return _kept(found) if found else None

    def overdue(self, most: int) -> list[Kept]:
        """Take out at most so many of the entries that are overdue."""
        # What has expired meanwhile comes as nothing.
        found = self._overdue(keys=[_DUE, _taken()], args=[most, _CALL, _TAKEN_MS])
        return [_kept(one) for one in found if one]

    def drop_kept(self) -> None:
        """Close the connections that nobody uses just now."""
        drop_kept(self._client.connection_pool)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _taken() -> str:
    """Return where what one asker takes is kept: a repeat by redis-py has the same name, and nobody else."""
    return _TAKEN + secrets.token_hex(8)


def _age(room_since: float | None) -> list[int]:
    return [-1 if room_since is None else round(room_since * 1000), CLOCK_TOLERANCE_S * 1000]


def _kept(found: Sequence[bytes]) -> Kept:
    text = [bytes(one).decode() for one in found]
    fields = dict(zip(text[::2], text[1::2], strict=True))
    facts = {name: _fact(fact) for name, fact in fields.items() if not name.startswith(_OWN)}
    return Kept(Entry.from_text(fields["=entry"]), facts)


def _fact(kept: str) -> Fact:
    order, _, text = kept.partition(" ")
    return Fact(int(order), text)
