"""Rate limits of users and addresses that count for all nodes together.

No caller waits for Redis: each takes tokens from this node's own bucket. Once a second, the node reports the buckets
from which a notable share was taken, and learns how many tokens all nodes have left. So a node knows of the others' use
within about a second. What both have allowed meanwhile is owed, and paid first.
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
"""The share of a second's rate after which a bucket is reported. A smaller use is kept for later."""
MAX_DEBT_SECONDS = 10
BATCH = 200

# Takes what one node has used from the shared bucket, and returns the tokens that are left. The use may have happened
# over the last second, so the tokens of that second are added after it, and earlier ones before it.
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
    """Makes the buckets for one kind of action of users or addresses."""

    def __call__(self, kind: str, rate: float, burst: float) -> TokenBuckets:
        """Return buckets with a `rate` per second."""


def local_buckets(kind: str, rate: float, burst: float) -> TokenBuckets:
    """Return the buckets of a gateway in one process."""
    return TokenBuckets(rate, burst)


class _SharedBucket(TokenBucket):
    """A bucket that counts what was taken, and adds itself to a list once that is notable."""

    __slots__ = ("_notable", "_used", "burst", "key", "taken")

    def __init__(self, rate: float, burst: float, now: float, key: str, used: "list[_SharedBucket]") -> None:
        super().__init__(rate, burst, now)
        self.key = key
        self.burst = burst
        self.taken = 0.0
        self._notable = max(1, int(rate * NOTABLE))
        self._used = used

    def take(self, now: float, cost: float = 1) -> float:
        """Take `cost` tokens and return 0. Without even one token, return the seconds until there is one."""
        wait = super().take(now, cost)
        if not wait:
            self._note(cost)
        return wait

    def spend(self, now: float, cost: float) -> None:
        """Take `cost` tokens, and owe those that are missing."""
        super().spend(now, cost)
        self._note(cost)

    def _note(self, cost: float) -> None:
        was_notable = self.taken >= self._notable
        self.taken += cost
        if self.taken >= self._notable and not was_notable:
            self._used.append(self)


class SharedRates:
    """Makes buckets that share their tokens with all nodes."""

    def __init__(self, redis: RedisCommands, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix
        self._used: list[_SharedBucket] = []

    def buckets(self, kind: str, rate: float, burst: float) -> TokenBuckets:
        """Return buckets for one kind of action."""

        def make(key: str, now: float) -> TokenBucket:
            return _SharedBucket(rate, burst, now, f"{self._prefix}:rate:{kind}:{key}", self._used)

        return TokenBuckets(rate, burst, make=make)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Report to Redis once a second."""
        async with Periodic("rates", SETTLE_SECONDS, self.settle):
            yield self

    async def settle(self) -> None:
        """Report all buckets with a notable use. While Redis is down, report none."""
        used, self._used[:] = dict.fromkeys(self._used), []  # each once: some got tokens back and lost them again
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
            return  # meanwhile each node keeps the limits on its own
        for bucket, left in zip(buckets, answers, strict=True):
            if left is not None:
                bucket.lower(float(left))


def _settlement(bucket: _SharedBucket) -> Command:
    debt = MAX_DEBT_SECONDS * bucket.rate
    return ("EVAL", _SETTLE, 1, bucket.key, bucket.rate, bucket.burst, bucket.taken, SETTLE_SECONDS, debt)
