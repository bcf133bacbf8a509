"""The keys of our own tokens: one signs, and all verify.

The newest key of the folder signs, as soon as every process must have read it. All keys verify, a retired one until
its last token has ended. The secret verifies as well, and signs if there is no other key. `key_files` reads and
writes the files.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Self

from gateway.auth.keys.key_files import SECRET_KID, KeyFile, can_sign, contents, read_folder, read_secret
from gateway.auth.keys.signatures import Key
from gateway.config.settings import Settings
from gateway.core.periodic import Periodic
from gateway.core.start_error import StartError

logger = logging.getLogger(__name__)

REREAD_SECONDS = 10
"""Seconds between two checks of the folder by a running gateway."""

SIGNS_AFTER_SECONDS = 60
"""The age in seconds at which a key signs, so that every other process has read it."""


class KeyRing:
    """The keys by name. No other place looks a key up."""

    def __init__(self, secret: Key | None, files: Iterable[KeyFile] = ()) -> None:
        self.secret = secret
        self._files: dict[str, KeyFile] = {}
        self.replace(files)

    def replace(self, files: Iterable[KeyFile]) -> bool:
        """Use these files from now on, and return whether they differ from those before."""
        before = {(file.path, file.until) for file in self._files.values()}
        self._files = {file.key.kid: file for file in files}
        return before != {(file.path, file.until) for file in self._files.values()}

    def signing_key(self, now: float) -> Key:
        """Return the key that signs at this time."""
        active = sorted((file for file in self._files.values() if file.until is None), key=lambda file: file.made_at)
        ready = [file for file in active if file.made_at + SIGNS_AFTER_SECONDS <= now]
        if ready:
            return ready[-1].key
        key = self.secret or (active[0].key if active else None)
        assert key is not None  # noqa: S101 - `load_key_ring` and `KeyReloader` ensure it
        return key

    def find(self, kid: str, now: float) -> Key | None:
        """Return the key of this name, or None after the end of its last token."""
        if kid == SECRET_KID:
            return self.secret
        file = self._files.get(kid)
        return file.key if file is not None and (file.until is None or now < file.until) else None

    def verifying_keys(self, now: float) -> list[Key]:
        """Return the keys of the folder that still verify."""
        return [file.key for file in self._files.values() if file.until is None or now < file.until]


def load_key_ring(settings: Settings) -> KeyRing:
    """Read the secret and the folder, or raise `StartError`. In development, make a secret if there is no key."""
    files = read_folder(settings)
    secret = read_secret(settings, make=not can_sign(files))
    if secret is None and not can_sign(files):
        raise StartError(
            "GATEWAY_SECRET_KEY: production needs one; make it with: openssl rand -base64 48"
            f" (or use a key file in {settings.key_folder}; make it with: gateway keys new)"
        )
    return KeyRing(secret, files)


class KeyReloader:
    """Follows changes of the folder, so that keys rotate without a restart."""

    def __init__(self, settings: Settings, ring: KeyRing) -> None:
        self._settings = settings
        self._ring = ring
        # Unknown at first, so that the first check reads the folder again.
        self._seen: list[tuple[str, int]] | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Look every few seconds whether the folder has changed."""
        async with Periodic("keys", REREAD_SECONDS, self.reload_if_changed):
            yield self

    async def reload_if_changed(self) -> None:
        """Read the folder again if it has changed."""
        seen = await asyncio.to_thread(contents, self._settings.key_folder)
        if seen == self._seen:
            return
        self._seen = seen
        await self.reload()

    async def reload(self) -> None:
        """Read the folder again. If it is wrong, log that and keep the keys."""
        try:
            files = await asyncio.to_thread(read_folder, self._settings)
        except StartError as error:
            logger.error("the keys stay as they were: %s", error)  # noqa: TRY400 - the line is for the operator
            return
        if self._ring.secret is None and not can_sign(files):
            logger.error("the keys stay as they were: %s has none that signs", self._settings.key_folder)
            return
        if self._ring.replace(files):
            logger.info("read the keys again: %s", ", ".join(file.path.name for file in files) or "none")
