"""Leases in Redis, shared by all processes. Needs the extra `redis`.

One hash for each lease, and two sorted sets of rooms by the moment at which their leases end, in
milliseconds of Redis's own clock: `webcall:calls:<key>` and `webcall:waiting:<address>`. Each method is one
script, which Redis runs by itself, so that two processes never both take the last place. All that is
kept has an expiry.
"""

from __future__ import annotations

import math

from webcall.core.leases import CLOCK_TOLERANCE_S, Full, Taken, Wanted
from webcall.core.redis_in_time import drop_kept
from webcall.core.storage import redis_client

_PREFIX = "webcall:"

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function keep(set)
  local last = redis.call('ZRANGE', set, -1, -1, 'WITHSCORES')
  if last[2] then redis.call('PEXPIREAT', set, last[2]) end
end
"""

# KEYS: the lease, the calls of its key, the waiting rooms of its address.
# ARGV: room, limits of both (-1: none), how long it waits and lasts, in milliseconds, and the holder: where
# redis-py asks again, since the answer was lost, the lease is the asker's own.
# Answer: {1 taken, 0 kept, -1 or -2 full by calls or by waiting; milliseconds until the next end, or -1}
_TAKE = (
    _NOW
    + """
local ends = now + ARGV[4]
local holder = 'by:' .. ARGV[6]
local there = redis.call('HMGET', KEYS[1], 'calls', 'waiting', 'live', holder)
if there[1] then
  if there[4] then return {tonumber(there[4]), 0} end
  if not there[3] then
    redis.call('HSET', KEYS[1], holder, 0)
    redis.call('HINCRBY', KEYS[1], 'holders', 1)
    for i = 1, 2 do
      if there[i] ~= '' then
        redis.call('ZADD', there[i], ends, ARGV[1])
        keep(there[i])
      end
    end
    redis.call('PEXPIREAT', KEYS[1], ends)
  end
  return {0, 0}
end
for i = 1, 2 do
  local most = tonumber(ARGV[i + 1])
  if most >= 0 then
    redis.call('ZREMRANGEBYSCORE', KEYS[i + 1], '-inf', now)
    if redis.call('ZCARD', KEYS[i + 1]) >= most then
      local first = redis.call('ZRANGE', KEYS[i + 1], 0, 0, 'WITHSCORES')
      return {-i, first[2] and first[2] - now or -1}
    end
  end
end
local sets = {'', ''}
for i = 1, 2 do
  if tonumber(ARGV[i + 1]) >= 0 then
    sets[i] = KEYS[i + 1]
    redis.call('ZADD', sets[i], ends, ARGV[1])
    keep(sets[i])
  end
end
redis.call('HSET', KEYS[1], 'calls', sets[1], 'waiting', sets[2], 'since', now)
redis.call('HSET', KEYS[1], 'lasts', ARGV[5], 'holders', 1, holder, 1)
redis.call('PEXPIREAT', KEYS[1], ends)
return {1, 0}
"""
)

_END = """
local function finish(sets)
  for i = 1, 2 do
    if sets[i] ~= '' then redis.call('ZREM', sets[i], ARGV[1]) end
  end
  redis.call('DEL', KEYS[1])
end
"""

# KEYS: the lease. ARGV: room, holder.
_GIVE_BACK = (
    _END
    + """
if redis.call('HDEL', KEYS[1], 'by:' .. ARGV[2]) == 0 then return 0 end
local left = redis.call('HINCRBY', KEYS[1], 'holders', -1)
local there = redis.call('HMGET', KEYS[1], 'calls', 'waiting', 'live')
if left > 0 or there[3] then return 0 end
finish(there)
return 1
"""
)

# KEYS: the lease.
# ARGV: room, how old it is (-1: not known) and a tolerance, in milliseconds, 'join' or 'end'.
_FOLLOW = (
    _NOW
    + _END
    + """
local there = redis.call('HMGET', KEYS[1], 'calls', 'waiting', 'since', 'lasts', 'live')
if not there[1] then return 0 end
local age = tonumber(ARGV[2])
if age >= 0 and now - age < there[3] - ARGV[3] then return 0 end
if ARGV[4] == 'end' then
  finish(there)
  return 1
end
if there[5] then return 0 end
local ends = now + there[4]
if there[2] ~= '' then redis.call('ZREM', there[2], ARGV[1]) end
if there[1] ~= '' then
  redis.call('ZADD', there[1], ends, ARGV[1])
  keep(there[1])
end
redis.call('HSET', KEYS[1], 'live', 1)
redis.call('PEXPIREAT', KEYS[1], ends)
return 1
"""
)


class RedisLeases:
    """A `LeaseStore` in Redis. Its methods raise `redis.RedisError` in an outage."""

    def __init__(self, storage_uri: str) -> None:
        """Take `limits.storage_uri`. Opens no connection."""
        self._client = redis_client(storage_uri)
        self._take = self._client.register_script(_TAKE)
        self._give_back = self._client.register_script(_GIVE_BACK)
        self._follow = self._client.register_script(_FOLLOW)

    def take(self, wanted: Wanted) -> Taken | Full:
        """Take a place unless all are taken. A lease that the room has is kept, and waits anew."""
        keys = [
            _lease(wanted.room),
            f"{_PREFIX}calls:{wanted.key}",
            f"{_PREFIX}waiting:{wanted.address}",
        ]
        limits = [-1 if most is None else most for most in (wanted.most_calls, wanted.most_waiting)]
        times = [round(seconds * 1000) for seconds in (wanted.waits_s, wanted.lasts_s)]
        found, ends_ms = self._take(keys=keys, args=[wanted.room, *limits, *times, wanted.holder])
        if found < 0:
            return Full(by_calls=found == -1, next_end_s=ends_ms / 1000 if ends_ms >= 0 else math.inf)
        return Taken(fresh=found == 1)

    def give_back(self, wanted: Wanted) -> None:
        """Give back what was taken and came to nothing, unless it is live or another request holds it too."""
        self._give_back(keys=[_lease(wanted.room)], args=[wanted.room, wanted.holder])

    def join(self, room: str, room_age_s: float | None = None) -> None:
        """Somebody is in the room: its lease waits no more, and lasts as long as a call may."""
        self._tell("join", room, room_age_s)

    def end(self, room: str, room_age_s: float | None = None) -> None:
        """Give back the places of the room."""
        self._tell("end", room, room_age_s)

    def drop_kept(self) -> None:
        """Close the connections that nobody uses just now."""
        drop_kept(self._client.connection_pool)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _tell(self, what: str, room: str, room_age_s: float | None) -> None:
        age_ms = -1 if room_age_s is None else round(room_age_s * 1000)
        self._follow(keys=[_lease(room)], args=[room, age_ms, CLOCK_TOLERANCE_S * 1000, what])


def _lease(room: str) -> str:
    return f"{_PREFIX}lease:{room}"
