"""Password hashes, off the event loop and bounded. The one module that knows passlib."""

import asyncio
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from passlib.context import CryptContext
from passlib.hash import bcrypt

from handlers.errors import Unavailable
from schemas.users import password_problem, prepared

Result = TypeVar("Result")

MAX_WAITING = 8
"""How many hashes may wait for a thread: at about 0.2 s each, more would only make everybody wait for longer."""


class HashingBusy(Unavailable):
    """More log-ins at once than the machine can hash."""

    def __str__(self) -> str:
        return "too many log-ins at this moment; try again shortly"


_ROUNDS = re.compile(r"^\$2[aby]\$(\d\d)\$|,r=(\d\d?)\$", re.ASCII)
_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}", re.ASCII)


def bcrypt_problem(hashed: str, most_rounds: int) -> str | None:
    """Return why a hash cannot be imported, or None. The reason never quotes it, as it may be a password.

    One that costs more than ours would show by its time that there is such a user.
    """
    found = _BCRYPT.fullmatch(hashed)
    if found is None:
        return "expected a bcrypt hash: $2a$, $2b$ or $2y$, two digits, $, and 53 characters"
    if not 4 <= int(found[1]) <= most_rounds:
        return f"expected a bcrypt hash of 4 to {most_rounds} rounds (GATEWAY_PASSWORD_ROUNDS), got {int(found[1])}"
    return None


def may_be_password(password: str) -> bool:
    """Return whether any user can have this password: only then a stored hash can be of it."""
    return password_problem(password, least=0) is None


class Passwords:
    """Hashes and verifies passwords.

    New hashes are `bcrypt_sha256`, which has no cut at 72 bytes. Plain `bcrypt` hashes, brought along from
    elsewhere, are accepted, and `verify` returns a new hash to store in their place, as for one of another cost.
    """

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._context = CryptContext(
            schemes=["bcrypt_sha256", "bcrypt"],
            deprecated=["bcrypt"],
            bcrypt_sha256__rounds=rounds,
            bcrypt_sha256__min_rounds=rounds,
            bcrypt_sha256__max_rounds=rounds,
            bcrypt__rounds=rounds,
        )
        # bcrypt lets go of the interpreter lock, so threads do run side by side; one core is left to the loop.
        threads = max(1, min(4, (os.cpu_count() or 2) - 1))
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="password")
        self.capacity = threads + MAX_WAITING
        self._under_way = 0

    async def start(self) -> None:
        """Prepare the hash that unknown users are checked against, so that the first costs no more."""
        await self._run(self._context.dummy_verify)

    def close(self) -> None:
        """Let the threads go."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """Hash a password that has passed the rules of `schemas.users`."""
        return await self._run(partial(self._context.hash, prepared(password)))

    async def verify(self, password: str, hashed: str | None) -> tuple[bool, str | None]:
        """Tell whether the password is right, and give a new hash where the stored one is outdated.

        `hashed` is None for an unknown user: this takes as long as for a known one, and the answer is no.
        """
        if not may_be_password(password):
            # No stored hash can be of such a password, so nothing is learnt from the haste.
            return False, None
        return await self._run(partial(self._verify, password, hashed))

    def _verify(self, password: str, hashed: str | None) -> tuple[bool, str | None]:
        """Try the prepared form, and then what was typed, if that is another: older hashes may be of it.

        Only what was typed decides how many tries there are, and nothing of the user.
        """
        right, new_hash = self._try(prepared(password), hashed)
        if right or prepared(password) == password:
            return right, new_hash
        right, _ = self._try(password, hashed)
        return right, self._context.hash(prepared(password)) if right else None

    def _try(self, password: str, hashed: str | None) -> tuple[bool, str | None]:
        if hashed is None:
            self._context.dummy_verify()
            return False, None
        try:
            right, new_hash = self._context.verify_and_update(password, hashed)
        except ValueError:  # a hash that is none, and a password that passlib does not take, are both of this kind
            self._context.dummy_verify()
            return False, None
        if not right:
            self._make_up_for(hashed)
        return right, new_hash

    def _make_up_for(self, hashed: str) -> None:
        """Take the time that a hash of our own cost would have taken: a quick no shows that there is such a user.

        Each step of the cost doubles the work, so what is missing is one hash of each cost from there on.
        """
        found = _ROUNDS.search(hashed)
        for rounds in range(int(found[1] or found[2]) if found else self._rounds, self._rounds):
            bcrypt.using(rounds=rounds).hash("x")

    async def _run(self, work: Callable[[], Result]) -> Result:
        if self._under_way >= self.capacity:
            raise HashingBusy("password hashing")
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._under_way -= 1
