"""Rate limits: token buckets, and waits that grow with each failure."""

import secrets
from array import array
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from weakref import WeakValueDictionary


class TokenBucket:
    """Allow `burst` uses at once, and `rate` a second from then on. A rate of 0 means no limit."""

    __slots__ = ("__weakref__", "_burst", "_tokens", "_updated", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self._burst = burst
        self._tokens = burst
        self._updated = now

    def take(self, now: float, cost: float = 1) -> float:
        """Take `cost` tokens and return 0. Below one token, take none and return the seconds until there is one.

        A use that costs more than the tokens left still passes, and the bucket owes the rest. So no cost is too high.
        """
        if not self.rate:
            return 0
        tokens = self._tokens + (now - self._updated) * self.rate
        if tokens > self._burst:  # not min(): this runs several times for each message
            tokens = self._burst
        self._updated = now
        if tokens >= 1:
            self._tokens = tokens - cost
            return 0
        self._tokens = tokens
        return (1 - tokens) / self.rate

    def spend(self, now: float, cost: float) -> None:
        """Take `cost` tokens, and owe those that are missing. A negative cost puts tokens back."""
        tokens = min(self._burst, self._tokens + (now - self._updated) * self.rate)
        self._updated = now
        self._tokens = tokens - cost

    def lower(self, tokens: float) -> None:
        """Reduce the tokens to at most `tokens`. A negative number is owed."""
        self._tokens = min(self._tokens, tokens)


MakeBucket = Callable[[str, float], TokenBucket]
"""A function that makes the bucket of a name or address, given the time on the steady clock."""


class TokenBuckets:
    """A bucket for each name or address.

    It keeps the `capacity` buckets that were used last, so that a client that leaves and returns finds its bucket as
    empty as it was. It also keeps every bucket that a caller still holds.
    """

    def __init__(self, rate: float, burst: float, capacity: int = 10_000, make: MakeBucket | None = None) -> None:
        self._rate = rate
        self._unlimited = TokenBucket(0, 1, 0.0)
        self._make = make or (lambda _, now: TokenBucket(rate, burst, now))
        self._capacity = capacity
        self._recent: OrderedDict[str, TokenBucket] = OrderedDict()
        self._all: WeakValueDictionary[str, TokenBucket] = WeakValueDictionary()

    def get(self, key: str, now: float) -> TokenBucket:
        """Return the bucket of a name or address. A caller may keep it, and take from it without another look-up.

        Without a rate, all names share one, which never runs out.
        """
        if not self._rate:
            return self._unlimited
        bucket = self._all.get(key)
        if bucket is None:
            bucket = self._all[key] = self._make(key, now)
        self._recent[key] = bucket
        self._recent.move_to_end(key)
        if len(self._recent) > self._capacity:
            self._recent.popitem(last=False)
        return bucket

    def take(self, key: str, now: float) -> float:
        """Take one token of the key's bucket and return 0, or return the seconds until there is one."""
        return self.get(key, now).take(now)


class Allowance:
    """What one connection may use: as much as each of several buckets allows."""

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets: list[tuple[TokenBucket, str]] = []

    def add(self, bucket: TokenBucket, whose: str) -> None:
        """Add a bucket. `whose` describes it in error messages, as in "on this connection"."""
        if bucket.rate:
            self._buckets.append((bucket, whose))

    def remove(self, whose: str) -> None:
        """Remove the buckets that were added with this description."""
        self._buckets = [(bucket, words) for bucket, words in self._buckets if words != whose]

    def take(self, now: float, cost: float = 1) -> tuple[float, str] | None:
        """Take `cost` tokens from each bucket and return None.

        If one is empty, take none, and return the seconds until it has a token, and its description.
        """
        for bucket, whose in self._buckets:
            if wait := bucket.take(now, cost):
                self._undo(bucket, now, cost)
                return wait, whose
        return None

    def spend(self, now: float, cost: float) -> None:
        """Take `cost` tokens from each bucket, and owe those that are missing."""
        for bucket, _ in self._buckets:
            bucket.spend(now, cost)

    def _undo(self, empty: TokenBucket, now: float, cost: float) -> None:
        """Put back the tokens of the buckets before the empty one."""
        for bucket, _ in self._buckets:
            if bucket is empty:
                return
            bucket.spend(now, -cost)


@dataclass
class _Failures:
    count: int = 0
    until: float = 0.0


FORGET_SECONDS = 24 * 3600
"""Seconds after which failures are forgotten."""


class _Shadow:
    """An approximate memory of the failures that no longer have an entry of their own.

    Each key has a place in each of two rows. A place holds the worst of the keys that share it. So a key without
    failures seems to have some only if both of its places are taken. The places depend on a secret, so that no sender
    can look for keys that share them.
    """

    ROW = 65_536

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(16)
        # Both arrays take 2 MB, and most processes never see as many keys as would fill them. So they start empty.
        self._counts = array("L")
        self._until = array("d")

    def keep(self, key: str, failures: _Failures) -> None:
        """Remember failures that cause a wait. A single failure causes none; a flood of invented keys has one each."""
        if failures.count < 2:
            return
        if not self._counts:
            self._counts = array("L", bytes(2 * self.ROW * self._counts.itemsize))
            self._until = array("d", bytes(2 * self.ROW * self._until.itemsize))
        for place in self._places(key):
            if failures.count >= self._counts[place] or self._until[place] < failures.until - FORGET_SECONDS:
                self._counts[place], self._until[place] = failures.count, failures.until

    def recall(self, key: str, now: float) -> _Failures:
        """Return the failures of a key: at least as many as it had."""
        if not self._counts:
            return _Failures()
        place = min(self._places(key), key=self._counts.__getitem__)
        if not self._counts[place] or self._until[place] < now - FORGET_SECONDS:
            return _Failures()
        return _Failures(self._counts[place], self._until[place])

    def _places(self, key: str) -> tuple[int, int]:
        digest = blake2b(key.encode(errors="surrogatepass"), digest_size=8, key=self._secret).digest()
        first, second = int.from_bytes(digest[:4]), int.from_bytes(digest[4:])
        return first % self.ROW, self.ROW + second % self.ROW


class Backoff:
    """Make a key wait after failures: not after the first, then 1 s, 2 s, 4 s and so on, up to `longest`.

    Failures count for a day. The `capacity` keys that failed last have exact entries. Older ones move to an approximate
    memory, so that a flood of other keys ends no key's wait. A `longest` of 0 means no waits. An attempt counts before
    its outcome is known, so that many attempts at once do not get around the wait.
    """

    def __init__(self, longest: float, capacity: int = 10_000) -> None:
        self._longest = longest
        self._capacity = capacity
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._shadow = _Shadow()

    def begin_attempt(self, key: str, now: float) -> float:
        """Count an attempt and return 0. If the key must still wait, return the remaining seconds."""
        if not self._longest:
            return 0
        failures = self._of(key, now)
        if now < failures.until:
            return failures.until - now
        failures.count += 1
        # Beyond 2 ** 40 s, a higher power changes nothing.
        failures.until = now + (min(self._longest, 2.0 ** min(failures.count - 2, 40)) if failures.count > 1 else 0)
        self._failures.move_to_end(key)
        return 0

    def succeed(self, key: str) -> None:
        """Forget the failures of a key."""
        if key in self._failures:
            self._failures[key] = _Failures()  # an empty entry: without one, the approximate memory would answer

    def undo(self, key: str, now: float) -> None:
        """Take back an attempt that had no outcome."""
        failures = self._failures.get(key)
        if failures is not None:
            failures.count -= 1
            failures.until = now

    def _of(self, key: str, now: float) -> _Failures:
        failures = self._failures.get(key)
        if failures is None:
            failures = self._failures[key] = self._shadow.recall(key, now)
            if len(self._failures) > self._capacity:
                self._shadow.keep(*self._failures.popitem(last=False))
        elif failures.until + FORGET_SECONDS < now:
            failures = self._failures[key] = _Failures()
        return failures
