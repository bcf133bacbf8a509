"""Password hashes, off the event loop and limited in number. The one module that knows passlib."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from time import perf_counter
from typing import Self, TypeVar

from passlib.context import CryptContext
from passlib.hash import bcrypt, bcrypt_sha256

from gateway.core.histograms import Histogram
from gateway.core.start_error import StartError
from handlers.errors import Unavailable
from schemas.users import password_problem, prepared

Result = TypeVar("Result")

FIRST_WITHOUT_CUT = 5
"""The version of bcrypt that refuses passwords over 72 bytes, where passlib expects that they are cut."""

MAX_WAITING = 8
"""Hashes that may wait for a thread. At about 0.2 s each, more would only make all users wait for longer."""


class HashingBusy(Unavailable):
    """There are more log-ins at once than the machine can hash."""

    def __str__(self) -> str:
        return "too many log-ins at this moment; try again shortly"


_ROUNDS = re.compile(r"^\$2[aby]\$(\d\d)\$|,r=(\d\d?)\$", re.ASCII)
_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}", re.ASCII)


def bcrypt_problem(hashed: str, most_rounds: int) -> str | None:
    """Return why a hash cannot be imported, or None. The reason never quotes it, since it may be a password.

    A hash that costs more than ours would reveal by its time that the user exists.
    """
    found = _BCRYPT.fullmatch(hashed)
    if found is None:
        return "expected a bcrypt hash: $2a$, $2b$ or $2y$, two digits, $, and 53 characters"
    if not 4 <= int(found[1]) <= most_rounds:
        return f"expected a bcrypt hash of 4 to {most_rounds} rounds (GATEWAY_PASSWORD_ROUNDS), got {int(found[1])}"
    return None


def check_bcrypt(installed: str) -> None:
    """Raise `StartError` for a version of bcrypt that passlib cannot use."""
    # A first hash would show it too, but passlib tries 16 others before: 20 ms that a start without log-ins can save.
    if int(installed.partition(".")[0]) >= FIRST_WITHOUT_CUT:
        raise StartError(
            f"expected bcrypt before version {FIRST_WITHOUT_CUT}, got {installed}, with which passlib cannot work;"
            " pip install 'bcrypt<5'"
        )


def _unmatched_hash(rounds: int) -> str:
    """Return a hash of our own kind and cost that no password has. To make it costs nothing."""
    hashed: str = bcrypt_sha256(
        use_defaults=True, rounds=rounds, checksum="." * bcrypt_sha256.checksum_size
    ).to_string()
    return hashed


def may_be_password(password: str) -> bool:
    """Return whether any user can have this password, so that a stored hash may match it."""
    return password_problem(password, least=0) is None


class Passwords:
    """Hashes and verifies passwords.

    New hashes are `bcrypt_sha256`, which does not cut at 72 bytes. Imported plain `bcrypt` hashes count too. For them,
    and for hashes of another cost, `verify` returns a new hash to store in their place.
    """

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._unmatched = _unmatched_hash(rounds)
        self._context = CryptContext(
            schemes=["bcrypt_sha256", "bcrypt"],
            deprecated=["bcrypt"],
            bcrypt_sha256__rounds=rounds,
            bcrypt_sha256__min_rounds=rounds,
            bcrypt_sha256__max_rounds=rounds,
            bcrypt__rounds=rounds,
        )
        # bcrypt releases the interpreter lock, so threads run side by side. One core stays free for the loop.
        threads = max(1, min(4, (os.cpu_count() or 2) - 1))
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="password")
        self.capacity = threads + MAX_WAITING
        self._under_way = 0
        self.seconds = Histogram()
        """How long hashes took, with the wait for a thread."""
        self.turned_away = 0
        """Log-ins that were refused because too many hashes waited."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Hash while the context lasts, or raise `StartError` for a bcrypt that passlib cannot use."""
        check_bcrypt(version("bcrypt"))
        try:
            yield self
        finally:
            self.close()

    def close(self) -> None:
        """Stop the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """Hash a password that has passed the rules of `schemas.users`."""
        return await self._run(partial(self._context.hash, prepared(password)))

    async def verify(self, password: str, hashed: str | None) -> tuple[bool, str | None]:
        """Return whether the password is right, and a new hash if the stored one is outdated.

        `hashed` is None for an unknown user. That takes as long as for a known one, and the answer is no.
        """
        if not may_be_password(password):
            # No stored hash matches such a password, so the quick answer reveals nothing.
            return False, None
        return await self._run(partial(self._verify, password, hashed))

    def _verify(self, password: str, hashed: str | None) -> tuple[bool, str | None]:
        """Try the prepared form, and then the typed form if it differs: older hashes may be of it.

        Only the typed password decides the number of attempts, never the user.
        """
        right, new_hash = self._try(prepared(password), hashed)
        if right or prepared(password) == password:
            return right, new_hash
        right, _ = self._try(password, hashed)
        return right, self._context.hash(prepared(password)) if right else None

    def _try(self, password: str, hashed: str | None) -> tuple[bool, str | None]:
        if hashed is None:
            return self._refuse()
        try:
            right, new_hash = self._context.verify_and_update(password, hashed)
        except ValueError:  # passlib raises it for a malformed hash and for a password that it does not take
            return self._refuse()
        if not right:
            self._make_up_for(hashed)
        return right, new_hash

    def _refuse(self) -> tuple[bool, None]:
        """Take as long as a wrong password of a known user."""
        self._context.verify("x", self._unmatched)
        return False, None

    def _make_up_for(self, hashed: str) -> None:
        """Take the rest of the time of a hash of our own cost: a quick refusal reveals that the user exists.

        Each step of the cost doubles the work. So the missing work is one hash of each cost from there on.
        """
        found = _ROUNDS.search(hashed)
        for rounds in range(int(found[1] or found[2]) if found else self._rounds, self._rounds):
            bcrypt.using(rounds=rounds).hash("x")

    @property
    def under_way(self) -> int:
        """Return how many hashes are made, or wait for a thread."""
        return self._under_way

    async def _run(self, work: Callable[[], Result]) -> Result:
        if self._under_way >= self.capacity:
            self.turned_away += 1
            raise HashingBusy("password hashing")
        self._under_way += 1
        began = perf_counter()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._under_way -= 1
            self.seconds.add(perf_counter() - began)
