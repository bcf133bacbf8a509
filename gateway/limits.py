"""Token buckets, and whom they are for."""

import ipaddress
from collections import OrderedDict
from weakref import WeakValueDictionary

from starlette.requests import HTTPConnection

IPV6_PREFIX = 64
"""What one customer of a provider is given at least (RFC 6177); limits for single addresses would be none."""


class TokenBucket:
    """Lets `burst` things through at once and `rate` a second from then on. A rate of 0 lets all through."""

    __slots__ = ("__weakref__", "_burst", "_tokens", "_updated", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self._burst = burst
        self._tokens = burst
        self._updated = now

    def take(self, now: float) -> float:
        """Take one token and give 0; if there is none, give the seconds until there is."""
        if not self.rate:
            return 0
        tokens = self._tokens + (now - self._updated) * self.rate
        if tokens > self._burst:  # not min(): this runs several times for each message
            tokens = self._burst
        self._updated = now
        if tokens >= 1:
            self._tokens = tokens - 1
            return 0
        self._tokens = tokens
        return (1 - tokens) / self.rate


class TokenBuckets:
    """A bucket for each name or address.

    It remembers the `capacity` used last, so that whoever goes and comes again finds the bucket as empty as it was,
    and all those that somebody holds.
    """

    def __init__(self, rate: float, burst: float, capacity: int = 10_000) -> None:
        self._rate = rate
        self._burst = burst
        self._capacity = capacity
        self._recent: OrderedDict[str, TokenBucket] = OrderedDict()
        self._all: WeakValueDictionary[str, TokenBucket] = WeakValueDictionary()

    def of(self, key: str, now: float) -> TokenBucket:
        """Give the bucket of a name or address, to hold and take from without looking for it again."""
        if not self._rate:
            return TokenBucket(0, 1, now)
        bucket = self._all.get(key)
        if bucket is None:
            bucket = self._all[key] = TokenBucket(self._rate, self._burst, now)
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

    def take(self, now: float) -> tuple[float, str] | None:
        """Take one of each bucket; if one is empty, give the seconds until it is not, and whose it is."""
        for bucket, whose in self._buckets:
            if wait := bucket.take(now):
                return wait, whose
        return None


def address_of(connection: HTTPConnection) -> str:
    """Give the address that limits count for: the client's, of IPv6 the network."""
    if connection.client is None:
        return "unknown"
    host = connection.client.host
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address.packed, IPV6_PREFIX), strict=False))
