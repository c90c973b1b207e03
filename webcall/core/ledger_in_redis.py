"""The ledger in Redis, shared by all processes. Needs the extra `redis`.

One hash for each call, `webcall:call:<room>`, and one sorted set of rooms by the moment at which their
entries are overdue, in milliseconds of Redis's own clock. What is claimed has the name of its claim in place
of the room's, `webcall:call-claim:<token>`, by the asker's own token, since redis-py asks again where the
answer was lost; another sorted set has the claims by when they run out. Each method is one script, which
Redis runs by itself. What nobody takes out expires a day after it was due or claimed.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

from webcall.core.endings import JOINED_AT, Entry, Fact, Kept
from webcall.core.leases import CLOCK_TOLERANCE_S
from webcall.core.ledger import CLAIM_S
from webcall.core.redis_in_time import drop_kept
from webcall.core.storage import redis_client

_CALL, _DUE = "webcall:call:", "webcall:calls-due"
_CLAIM, _CLAIMS, _SETTLED = "webcall:call-claim:", "webcall:calls-claimed", "webcall:call-settled:"
# Names of what is kept beside the facts begin with this.
_OWN = "="
_FORGOTTEN_S = 24 * 3600
_SETTLED_S = 3600

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# KEYS: the call, those that are due. ARGV: room, entry, how long it lasts and is remembered after that (ms),
# the holder, and the fact after which no more holders are noted. Where redis-py asks again, since the answer
# was lost, the entry is the asker's own.
_WRITE = (
    _NOW
    + """
local holder = '=by:' .. ARGV[5]
if redis.call('EXISTS', KEYS[1]) == 1 then
  local there = redis.call('HMGET', KEYS[1], holder, ARGV[6])
  if there[1] then return tonumber(there[1]) end
  if not there[2] then
    redis.call('HSET', KEYS[1], holder, 0)
    redis.call('HINCRBY', KEYS[1], '=holders', 1)
  end
  return 0
end
local due = now + ARGV[3]
redis.call('HSET', KEYS[1], '=entry', ARGV[2], '=since', now, '=holders', 1, holder, 1)
redis.call('PEXPIREAT', KEYS[1], due + ARGV[4])
redis.call('ZADD', KEYS[2], due, ARGV[1])
local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
redis.call('PEXPIREAT', KEYS[2], last[2] + ARGV[4])
return 1
"""
)

# KEYS: the call, those that are due. ARGV: room, holder, the fact after which nothing is forgotten.
_FORGET = """
if redis.call('HDEL', KEYS[1], '=by:' .. ARGV[2]) == 0 then return 0 end
local left = redis.call('HINCRBY', KEYS[1], '=holders', -1)
if left > 0 or redis.call('HEXISTS', KEYS[1], ARGV[3]) == 1 then return 0 end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
"""

# KEYS[1]: the call. ARGV[1], ARGV[2]: how old the room is (-1: not known) and a tolerance, in milliseconds.
_OURS = (
    _NOW
    + """
local since = redis.call('HGET', KEYS[1], '=since')
if not since then return false end
local age = tonumber(ARGV[1])
if age >= 0 and now - age < since - ARGV[2] then return false end
"""
)

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

# KEYS[2]: the claims. ARGV from 3 on: the asker's token, the beginning of a claim's key, for how long it
# holds and is remembered (ms).
_CLAIMING = """
local mine = {}
local function key(number) return ARGV[4] .. ARGV[3] .. ':' .. number end
while redis.call('EXISTS', key(#mine + 1)) == 1 do
  mine[#mine + 1] = redis.call('HGETALL', key(#mine + 1))
end
if #mine > 0 then return mine end
local function claim(entry, now)
  local number = #mine + 1
  redis.call('RENAME', entry, key(number))
  redis.call('PEXPIRE', key(number), ARGV[6])
  redis.call('ZADD', KEYS[2], now + ARGV[5], ARGV[3] .. ':' .. number)
  redis.call('PEXPIRE', KEYS[2], ARGV[6])
  mine[number] = redis.call('HGETALL', key(number))
end
"""

# KEYS: the call, the claims, those that are due. ARGV from 7 on: room, when it closed (empty: not known).
_CLAIM_ONE = (
    _CLAIMING
    + _OURS
    + """
if ARGV[8] ~= '' then redis.call('HSET', KEYS[1], '=closed', ARGV[8]) end
claim(KEYS[1], now)
redis.call('ZREM', KEYS[3], ARGV[7])
return mine
"""
)

# KEYS: those that are due, the claims. ARGV[1]: how many, ARGV[2]: the beginning of a call's key.
_CLAIM_OVERDUE = (
    _CLAIMING
    + _NOW
    + """
for _, token in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[1])) do
  redis.call('ZREM', KEYS[2], token)
  if redis.call('EXISTS', ARGV[4] .. token) == 1 then claim(ARGV[4] .. token, now) end
end
for _, room in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1] - #mine)) do
  redis.call('ZREM', KEYS[1], room)
  if redis.call('EXISTS', ARGV[2] .. room) == 1 then claim(ARGV[2] .. room, now) end
end
return mine
"""
)

# KEYS: the claim, the claims, that it is settled. ARGV: its token, for how long the answer is the same (ms).
_SETTLE = """
if redis.call('EXISTS', KEYS[3]) == 1 then return 1 end
if redis.call('DEL', KEYS[1]) == 0 then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('SET', KEYS[3], '', 'PX', ARGV[2])
return 1
"""


class RedisLedger:
    """A `LedgerStore` in Redis. Its methods raise `redis.RedisError` in an outage."""

    def __init__(self, storage_uri: str) -> None:
        """Take `limits.storage_uri`. Opens no connection."""
        self._client = redis_client(storage_uri)
        self._write = self._client.register_script(_WRITE)
        self._forget = self._client.register_script(_FORGET)
        self._note = self._client.register_script(_NOTE)
        self._claim_one = self._client.register_script(_CLAIM_ONE)
        self._claim_overdue = self._client.register_script(_CLAIM_OVERDUE)
        self._settle = self._client.register_script(_SETTLE)

    def write(self, entry: Entry, lasts_s: float, holder: str) -> bool:
        """Keep an entry unless its room has one."""
        room = entry.room_name
        times = [round(lasts_s * 1000), _FORGOTTEN_S * 1000]
        args: list[str | int] = [room, entry.as_text(), *times, holder, JOINED_AT]
        return bool(self._write(keys=[_CALL + room, _DUE], args=args))

    def forget(self, room: str, holder: str) -> None:
        """Take the room's entry out, unless another one holds it too or somebody joined."""
        self._forget(keys=[_CALL + room, _DUE], args=[room, holder, JOINED_AT])

    def note(self, room: str, facts: Mapping[str, str], room_age_s: float | None) -> None:
        """Add facts to the room's entry."""
        pairs = [text for pair in facts.items() for text in pair]
        self._note(keys=[_CALL + room], args=[*_age(room_age_s), JOINED_AT, *pairs])

    def claim(
        self, room: str, room_age_s: float | None = None, closed_at: float | None = None
    ) -> Kept | None:
        """Claim the room's entry."""
        asker = secrets.token_hex(8)
        closed = "" if closed_at is None else repr(closed_at)
        found = self._claim_one(
            keys=[_CALL + room, _CLAIMS, _DUE], args=[*_age(room_age_s), *_claiming(asker), room, closed]
        )
        return _kept(found[0], asker, 1) if found else None

    def claim_overdue(self, most: int) -> list[Kept]:
        """Claim at most so many of the entries that are overdue, or whose claims have run out."""
        asker = secrets.token_hex(8)
        found = self._claim_overdue(keys=[_DUE, _CLAIMS], args=[most, _CALL, *_claiming(asker)])
        return [_kept(one, asker, number) for number, one in enumerate(found, start=1)]

    def settle(self, token: str) -> bool:
        """Take out a claimed entry."""
        keys = [_CLAIM + token, _CLAIMS, _SETTLED + token]
        return bool(self._settle(keys=keys, args=[token, _SETTLED_S * 1000]))

    def drop_kept(self) -> None:
        """Close the connections that nobody uses just now."""
        drop_kept(self._client.connection_pool)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _claiming(asker: str) -> list[str | int]:
    return [asker, _CLAIM, round(CLAIM_S * 1000), _FORGOTTEN_S * 1000]


def _age(room_age_s: float | None) -> list[int]:
    return [-1 if room_age_s is None else round(room_age_s * 1000), CLOCK_TOLERANCE_S * 1000]


def _kept(found: Sequence[bytes], asker: str, number: int) -> Kept:
    text = [bytes(one).decode() for one in found]
    fields = dict(zip(text[::2], text[1::2], strict=True))
    facts = {name: _fact(fact) for name, fact in fields.items() if not name.startswith(_OWN)}
    closed_at = float(fields["=closed"]) if "=closed" in fields else None
    return Kept(Entry.from_text(fields["=entry"]), facts, closed_at, f"{asker}:{number}")


def _fact(kept: str) -> Fact:
    order, _, text = kept.partition(" ")
    return Fact(int(order), text)
