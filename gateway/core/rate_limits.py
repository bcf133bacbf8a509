"""Token buckets, and waits that grow."""

import secrets
from array import array
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from weakref import WeakValueDictionary


class TokenBucket:
    """Lets `burst` things through at once and `rate` a second from then on. A rate of 0 lets all through."""

    __slots__ = ("__weakref__", "_burst", "_tokens", "_updated", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self._burst = burst
        self._tokens = burst
        self._updated = now

    def take(self, now: float, cost: float = 1) -> float:
        """Take `cost` tokens and return 0; if there is not even one, take none and return the seconds until there is.

        What costs more than there is may still pass, and the rest is owed: no cost is too high to pass at all.
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
        """Take `cost` tokens; missing ones are owed. Less than 0 puts some back."""
        tokens = min(self._burst, self._tokens + (now - self._updated) * self.rate)
        self._updated = now
        self._tokens = tokens - cost

    def lower(self, tokens: float) -> None:
        """Have no more than so many tokens; fewer than none are owed."""
        self._tokens = min(self._tokens, tokens)


MakeBucket = Callable[[str, float], TokenBucket]
"""Makes the bucket of a name or address, at a time on the steady clock."""


class TokenBuckets:
    """A bucket for each name or address.

    It remembers the `capacity` used last, so that whoever goes and comes again finds the bucket as empty as it was,
    and all those that somebody holds.
    """

    def __init__(self, rate: float, burst: float, capacity: int = 10_000, make: MakeBucket | None = None) -> None:
        self._rate = rate
        self._make = make or (lambda _, now: TokenBucket(rate, burst, now))
        self._capacity = capacity
        self._recent: OrderedDict[str, TokenBucket] = OrderedDict()
        self._all: WeakValueDictionary[str, TokenBucket] = WeakValueDictionary()

    def of(self, key: str, now: float) -> TokenBucket:
        """Give the bucket of a name or address, to hold and take from without looking for it again."""
        if not self._rate:
            return TokenBucket(0, 1, now)
        bucket = self._all.get(key)
        if bucket is None:
            bucket = self._all[key] = self._make(key, now)
        self._recent[key] = bucket
        self._recent.move_to_end(key)
        if len(self._recent) > self._capacity:
            self._recent.popitem(last=False)
        return bucket

    def take(self, key: str, now: float) -> float:
        """Take one token of `key`'s bucket and give 0; if there is none, give the seconds until there is."""
        return self.of(key, now).take(now)


class Allowance:
    """What one connection may do of something: as much as each of several buckets lets through."""

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets: list[tuple[TokenBucket, str]] = []

    def limit(self, bucket: TokenBucket, whose: str) -> None:
        """Add a bucket; `whose` words it, as in "on this connection"."""
        if bucket.rate:
            self._buckets.append((bucket, whose))

    def unlimit(self, whose: str) -> None:
        """Forget the buckets that `limit` added with these words."""
        self._buckets = [(bucket, words) for bucket, words in self._buckets if words != whose]

    def take(self, now: float, cost: float = 1) -> tuple[float, str] | None:
        """Take `cost` of each bucket; if one is empty, take none, and return the seconds until it is not, and whose."""
        for bucket, whose in self._buckets:
            if wait := bucket.take(now, cost):
                self._undo(bucket, now, cost)
                return wait, whose
        return None

    def spend(self, now: float, cost: float) -> None:
        """Take `cost` of each bucket, also what is not there."""
        for bucket, _ in self._buckets:
            bucket.spend(now, cost)

    def _undo(self, empty: TokenBucket, now: float, cost: float) -> None:
        """Put back what was taken from the buckets before the empty one."""
        for bucket, _ in self._buckets:
            if bucket is empty:
                return
            bucket.spend(now, -cost)


@dataclass
class _Failures:
    count: int = 0
    until: float = 0.0


FORGET_SECONDS = 24 * 3600
"""For how long failures are remembered."""


class _Shadow:
    """What is left of failures that are no longer kept by their key.

    Each key has a place in each of two rows; of keys that share a place, it holds the worst. So a key that has not
    failed is taken for another one only if both of its places are. The places depend on a secret, so that no sender
    can find keys that share them.
    """

    ROW = 65_536

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(16)
        self._counts = array("L", bytes(2 * self.ROW * array("L").itemsize))
        self._until = array("d", bytes(2 * self.ROW * array("d").itemsize))

    def keep(self, key: str, failures: _Failures) -> None:
        """Keep what had a wait; a single failure has none, and is what a flood of made-up keys leaves."""
        if failures.count < 2:
            return
        for place in self._places(key):
            if failures.count >= self._counts[place] or self._until[place] < failures.until - FORGET_SECONDS:
                self._counts[place], self._until[place] = failures.count, failures.until

    def recall(self, key: str, now: float) -> _Failures:
        """Return what is known of a key, which is at least what it has done."""
        place = min(self._places(key), key=self._counts.__getitem__)
        if not self._counts[place] or self._until[place] < now - FORGET_SECONDS:
            return _Failures()
        return _Failures(self._counts[place], self._until[place])

    def _places(self, key: str) -> tuple[int, int]:
        digest = blake2b(key.encode(errors="surrogatepass"), digest_size=8, key=self._secret).digest()
        first, second = int.from_bytes(digest[:4]), int.from_bytes(digest[4:])
        return first % self.ROW, self.ROW + second % self.ROW


class Backoff:
    """Makes keys that fail wait: not after the first failure, then 1 s, 2 s, 4 s and so on, up to `longest`.

    It remembers failures for a day. The `capacity` keys that have failed last are kept exactly. Earlier ones are in a
    shadow, so that a flood of other keys washes no wait away. 0 for `longest` lets all through. It counts attempts
    before their outcome is known, so that many at once are no way around it.
    """

    def __init__(self, longest: float, capacity: int = 10_000) -> None:
        self._longest = longest
        self._capacity = capacity
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._shadow = _Shadow()

    def begin(self, key: str, now: float) -> float:
        """Count an attempt and give 0; if it is too early for one, give the seconds until it is not."""
        if not self._longest:
            return 0
        failures = self._of(key, now)
        if now < failures.until:
            return failures.until - now
        failures.count += 1
        # Beyond 2 ** 40 s the power would only grow.
        failures.until = now + (min(self._longest, 2.0 ** min(failures.count - 2, 40)) if failures.count > 1 else 0)
        self._failures.move_to_end(key)
        return 0

    def succeed(self, key: str) -> None:
        """Forget a key's failures."""
        if key in self._failures:
            self._failures[key] = _Failures()  # and not nothing, in whose place the shadow would come

    def undo(self, key: str, now: float) -> None:
        """Take an attempt back that came to no outcome."""
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
