"""The keys of our own tokens: which of them signs, and which verify.

The newest key of the folder signs, once it is old enough for every process to have read it; all of them verify, a
retired one until its last token has ended. The secret verifies as well, and signs where there is no other key. How
keys are kept is the business of `auth.key_files`.
"""

import asyncio
import logging
from collections.abc import Iterable

from gateway.auth.keys.key_files import SECRET_KID, KeyFile, can_sign, contents, read_folder, read_secret
from gateway.auth.keys.signatures import Key
from gateway.config.settings import Settings
from gateway.core.faults import contained
from gateway.core.start_error import StartError
from gateway.core.tasks import stop

logger = logging.getLogger(__name__)

REREAD_SECONDS = 10
"""How often a running gateway looks whether the folder has changed."""

SIGNS_AFTER_SECONDS = 60
"""How old a key must be to sign, so that no token is signed by a key that another process has not read yet."""


class KeyRing:
    """The keys by their names, which are looked up here and nowhere else."""

    def __init__(self, secret: Key | None, files: Iterable[KeyFile] = ()) -> None:
        self.secret = secret
        self._files: dict[str, KeyFile] = {}
        self.replace(files)

    def replace(self, files: Iterable[KeyFile]) -> bool:
        """Have these files from now on; tells whether they are others than before."""
        before = {(file.path, file.until) for file in self._files.values()}
        self._files = {file.key.kid: file for file in files}
        return before != {(file.path, file.until) for file in self._files.values()}

    def signing(self, now: float) -> Key:
        """Give the key that signs at this time."""
        active = sorted((file for file in self._files.values() if file.until is None), key=lambda file: file.made_at)
        ready = [file for file in active if file.made_at + SIGNS_AFTER_SECONDS <= now]
        if ready:
            return ready[-1].key
        key = self.secret or (active[0].key if active else None)
        assert key is not None  # noqa: S101 - `load` and `KeyWatch` see to it
        return key

    def find(self, kid: str, now: float) -> Key | None:
        """Give the key of this name, unless its last token has ended by now."""
        if kid == SECRET_KID:
            return self.secret
        file = self._files.get(kid)
        return file.key if file is not None and (file.until is None or now < file.until) else None

    def verifying(self, now: float) -> list[Key]:
        """List the keys of the folder whose tokens are good."""
        return [file.key for file in self._files.values() if file.until is None or now < file.until]


def load(settings: Settings) -> KeyRing:
    """Read the secret and the folder, or raise `StartError`; in development a secret is made if there is no key."""
    files = read_folder(settings)
    secret = read_secret(settings, make=not can_sign(files))
    if secret is None and not can_sign(files):
        raise StartError(
            "GATEWAY_SECRET_KEY: production needs one; make it with: openssl rand -base64 48"
            f" (or use a key file in {settings.key_folder}; make it with: gateway keys new)"
        )
    return KeyRing(secret, files)


class KeyWatch:
    """Takes up what changes in the folder, so that keys are rotated without a restart."""

    def __init__(self, settings: Settings, ring: KeyRing) -> None:
        self._settings = settings
        self._ring = ring
        # Nothing yet: what changed since the ring was made is found at the first look.
        self._seen: list[tuple[str, int]] | None = None
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look now and then."""
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Look no more."""
        if self._watching is not None:
            await stop(self._watching)

    async def look(self) -> None:
        """Read the folder again if it has changed. What is wrong with it is logged, and the keys stay as they are."""
        seen = await asyncio.to_thread(contents, self._settings.key_folder)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            files = await asyncio.to_thread(read_folder, self._settings)
        except StartError as error:
            logger.error("the keys stay as they were: %s", error)  # noqa: TRY400 - it is for the operator
            return
        if self._ring.secret is None and not can_sign(files):
            logger.error("the keys stay as they were: %s has none that signs", self._settings.key_folder)
            return
        if self._ring.replace(files):
            logger.info("read the keys again: %s", ", ".join(file.path.name for file in files) or "none")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(REREAD_SECONDS)
            with contained("keys"):
                await self.look()
