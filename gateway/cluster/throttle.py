"""Limits log-ins exactly over all nodes together: a log-in costs a hash anyway, so it can wait for Redis.

The rules are those of `auth.throttle`, in one script, on Redis' clock. All keys have one hash tag, because a log-in
uses several of them. Names are stored as hashes, because a typed name may be a password.
"""

import hashlib
from contextlib import suppress
from typing import Any

from gateway.auth.throttle import HOUR_SECONDS, Attempt, LocalThrottle, raise_if_limited, registrations
from gateway.bus.redis_commands import Part, RedisCommands, RedisUnavailable
from gateway.config.settings import Settings
from gateway.core.client_info import ClientInfo
from gateway.core.rate_limits import FORGET_SECONDS

KNOWN_SECONDS = 90 * 24 * 3600
"""How long an address from which a name has logged in stays known."""

_WHAT = {1: "log-ins from this address", 2: "failed log-ins of this user", 3: "log-ins of this user"}

_BUCKET = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local function take(key, rate, burst, keep)
  if rate == 0 then return 0 end
  local known = redis.call('HMGET', key, 'tokens', 'at')
  local since = math.max(0, now - (tonumber(known[2] or '') or now))
  local tokens = math.min(burst, (tonumber(known[1] or '') or burst) + since * rate)
  local wait = 0
  if tokens >= 1 then tokens = tokens - 1 else wait = (1 - tokens) / rate end
  redis.call('HSET', key, 'tokens', string.format('%.6f', tokens), 'at', string.format('%.6f', now))
  redis.call('EXPIRE', key, keep)
  return wait
end
"""

_TAKE = _BUCKET + "return string.format('%.6f', take(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), 3600))"

# KEYS: the address; whether it is known for the name; the name from there; the name from elsewhere.
# ARGV: rate and burst of addresses and of names; the longest wait; how long failures are remembered.
# Returns which limit was reached, the seconds to wait, and whether the address is known.
_BEGIN = (
    _BUCKET
    + """
local wait = take(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), 3600)
if wait > 0 then return {1, tostring(wait), 0} end
local is_known = redis.call('EXISTS', KEYS[2])
local name = is_known == 1 and KEYS[3] or KEYS[4]
local longest, keep = tonumber(ARGV[5]), tonumber(ARGV[6])
local count, left
if longest > 0 then
  local known = redis.call('HMGET', name, 'failures', 'until')
  count, left = tonumber(known[1] or '') or 0, (tonumber(known[2] or '') or 0) - now
  if left > 0 then return {2, tostring(math.min(left, longest)), is_known} end
end
wait = take(name, tonumber(ARGV[3]), tonumber(ARGV[4]), keep)
if wait > 0 then return {3, tostring(wait), is_known} end
if longest > 0 then
  left = count > 0 and math.min(longest, 2 ^ math.min(count - 1, 40)) or 0
  redis.call('HSET', name, 'failures', count + 1, 'until', string.format('%.6f', now + left))
  redis.call('EXPIRE', name, keep)
end
return {0, '0', is_known}
"""
)

_SUCCEED = """
redis.call('HDEL', KEYS[1], 'failures', 'until')
redis.call('SET', KEYS[2], '', 'EX', ARGV[1])
"""

_UNDO = """
if redis.call('HINCRBY', KEYS[1], 'failures', -1) <= 0 then
  redis.call('HDEL', KEYS[1], 'failures')
end
redis.call('HDEL', KEYS[1], 'until')
"""


class SharedThrottle:
    """Counts log-ins in Redis, and in this process while Redis is down."""

    def __init__(self, redis: RedisCommands, prefix: str, settings: Settings, local: LocalThrottle) -> None:
        self._redis = redis
        self._prefix = prefix
        self._local = local
        self._per_user, self._per_address = settings.login_rate_per_user, settings.login_rate_per_address
        self._per_hour = settings.registration_rate_per_address
        self._longest = settings.login_backoff_seconds

    async def check_address(self, client: ClientInfo, what: str) -> None:
        """Count an action that costs a hash against its address only, or raise `RateLimited`."""
        rate = (self._per_address / 60, self._per_address)
        try:
            wait = await self._execute("EVAL", _TAKE, 1, self._address(client), *rate)
        except RedisUnavailable:
            await self._local.check_address(client, what)
            return
        raise_if_limited(float(wait), f"{what} from this address")

    async def check_registration(self, client: ClientInfo) -> None:
        """Count a registration against the address, or raise `RateLimited`."""
        await self.check_address(client, "registrations")
        key = f"{self._prefix}:{{log-in}}:registrations:{_digest(client.network)}"
        try:
            wait = await self._execute("EVAL", _TAKE, 1, key, self._per_hour / HOUR_SECONDS, self._per_hour)
        except RedisUnavailable:
            await self._local.check_registration(client)
            return
        raise_if_limited(float(wait), registrations(self._per_hour))

    async def begin_attempt(self, name: str, client: ClientInfo) -> Attempt:
        """Count an attempt at a user's password, or raise `RateLimited`."""
        here, elsewhere = self._name(name, client), self._name(name, None)
        keys = (self._address(client), self._known(name, client), here, elsewhere)
        rates = (self._per_address / 60, self._per_address, self._per_user / 60, self._per_user)
        try:
            answer = await self._execute("EVAL", _BEGIN, 4, *keys, *rates, self._longest, FORGET_SECONDS)
        except RedisUnavailable:
            return await self._local.begin_attempt(name, client)
        what, wait, is_known = answer
        raise_if_limited(float(wait), _WHAT.get(what, ""))
        return Attempt(here if is_known else elsewhere, name, client, shared=True)

    async def succeed(self, attempt: Attempt) -> None:
        """Forget the failures, and remember this address as known for the name."""
        if not attempt.shared:
            await self._local.succeed(attempt)
            return
        known = self._known(attempt.name, attempt.client)
        await self._execute_quietly("EVAL", _SUCCEED, 2, attempt.key, known, KNOWN_SECONDS)

    async def undo(self, attempt: Attempt) -> None:
        """Take back an attempt that had no outcome."""
        if not attempt.shared:
            await self._local.undo(attempt)
        elif self._longest:
            await self._execute_quietly("EVAL", _UNDO, 1, attempt.key)

    async def _execute(self, *command: Part) -> Any:
        [answer] = await self._redis.execute([command])
        if answer is None:
            raise RedisUnavailable("another program has written to one of the gateway's keys")
        return answer

    async def _execute_quietly(self, *command: Part) -> None:
        with suppress(RedisUnavailable):  # without it, this user waits once longer than necessary
            await self._redis.execute([command])

    def _address(self, client: ClientInfo) -> str:
        return f"{self._prefix}:{{log-in}}:address:{_digest(client.network)}"

    def _known(self, name: str, client: ClientInfo) -> str:
        return f"{self._prefix}:{{log-in}}:known:{_digest(client.network, name)}"

    def _name(self, name: str, client: ClientInfo | None) -> str:
        where = ("*",) if client is None else (client.network,)
        return f"{self._prefix}:{{log-in}}:name:{_digest(*where, name)}"


def _digest(*parts: str) -> str:
    # The address first: it has no space, while an invented name may contain anything.
    return hashlib.sha256(" ".join(parts).encode(errors="surrogatepass")).hexdigest()[:32]
