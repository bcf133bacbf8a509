"""What users and addresses may do in a second, on all nodes together.

Nobody waits for Redis: each takes from this node's own bucket. Once a second the node settles for the buckets of which
a notable share was taken: it says how much that was and learns how much all nodes have left. So what one node lets
through, another knows within about a second; what both let through meanwhile is owed, and worked off first.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol, Self

from gateway.bus.redis_commands import Command, RedisCommands, RedisUnavailable
from gateway.core.batches import batches
from gateway.core.faults import contained
from gateway.core.periodic import Periodic
from gateway.core.rate_limits import TokenBucket, TokenBuckets

SETTLE_SECONDS = 1.0
NOTABLE = 0.1
"""The share of a second's rate that a bucket must have given to be settled for. Less is kept in mind."""
MAX_DEBT_SECONDS = 10
BATCH = 200

# Takes what was taken on one node from the bucket of all, and gives what is left there. What was taken may have been
# so over the last second: that second's tokens come after it, those of the time before come first.
_SETTLE = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local rate, burst, taken = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local interval, least = tonumber(ARGV[4]), -tonumber(ARGV[5])
local known = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, since = tonumber(known[1] or '') or burst, now - (tonumber(known[2] or '') or now)
local lately = math.max(0, math.min(since, interval))
tokens = math.min(burst, tokens + math.max(0, since - lately) * rate)
tokens = math.min(burst, math.max(least, tokens - taken) + lately * rate)
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'at', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil((burst - tokens) / rate * 1000) + 1000)
return string.format('%.6f', tokens)
"""


class MakeBuckets(Protocol):
    """Makes buckets for one kind of thing that users or addresses do."""

    def __call__(self, kind: str, rate: float, burst: float) -> TokenBuckets:
        """`rate` is per second."""


def local_buckets(kind: str, rate: float, burst: float) -> TokenBuckets:
    """Make the buckets of a gateway that is one process."""
    return TokenBuckets(rate, burst)


class _SharedBucket(TokenBucket):
    """A bucket that notes what was taken, and puts itself on a list once that is notable."""

    __slots__ = ("_notable", "_used", "burst", "key", "taken")

    def __init__(self, rate: float, burst: float, now: float, key: str, used: "list[_SharedBucket]") -> None:
        super().__init__(rate, burst, now)
        self.key = key
        self.burst = burst
        self.taken = 0.0
        self._notable = max(1, int(rate * NOTABLE))
        self._used = used

    def take(self, now: float, cost: float = 1) -> float:
        """Take `cost` tokens and return 0; if there is not even one, return the seconds until there is."""
        wait = super().take(now, cost)
        if not wait:
            self._note(cost)
        return wait

    def spend(self, now: float, cost: float) -> None:
        """Take `cost` tokens; missing ones are owed."""
        super().spend(now, cost)
        self._note(cost)

    def _note(self, cost: float) -> None:
        was_notable = self.taken >= self._notable
        self.taken += cost
        if self.taken >= self._notable and not was_notable:
            self._used.append(self)


class SharedRates:
    """Makes buckets that are settled for with all nodes."""

    def __init__(self, redis: RedisCommands, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix
        self._used: list[_SharedBucket] = []

    def buckets(self, kind: str, rate: float, burst: float) -> TokenBuckets:
        """Make buckets for one kind of thing."""

        def make(key: str, now: float) -> TokenBucket:
            return _SharedBucket(rate, burst, now, f"{self._prefix}:rate:{kind}:{key}", self._used)

        return TokenBuckets(rate, burst, make=make)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Settle once a second."""
        async with Periodic("rates", SETTLE_SECONDS, self.settle):
            yield self

    async def settle(self) -> None:
        """Settle for all buckets of which a notable share was taken; while Redis is down, for none."""
        used, self._used[:] = dict.fromkeys(self._used), []  # each once: some were given back to, and taken from anew
        for some in batches(used, BATCH):
            with contained("rates"):
                await self._settle(some)

    async def _settle(self, buckets: list[_SharedBucket]) -> None:
        commands = [_settlement(bucket) for bucket in buckets]
        for bucket in buckets:
            bucket.taken = 0.0
        try:
            answers = await self._redis.execute(commands)
        except RedisUnavailable:
            return  # each node keeps to the limits by itself meanwhile
        for bucket, left in zip(buckets, answers, strict=True):
            if left is not None:
                bucket.lower(float(left))


def _settlement(bucket: _SharedBucket) -> Command:
    debt = MAX_DEBT_SECONDS * bucket.rate
    return ("EVAL", _SETTLE, 1, bucket.key, bucket.rate, bucket.burst, bucket.taken, SETTLE_SECONDS, debt)
