"""Opens the store for one command."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gateway.config import database_url
from gateway.config.settings import Settings, load_settings
from gateway.core.logs import guard_logs
from gateway.core.start_error import StartError, make_data_dir
from gateway.store.engine import Database
from handlers.errors import MessageError, Unavailable

Result = TypeVar("Result")


def with_database(work: Callable[[Database, Settings], Awaitable[Result]], settings: Settings | None = None) -> Result:
    """Run `work` with the upgraded store, and return its result. Raise `StartError`, one line, if that fails.

    Without `settings`, it reads them from the environment.
    """
    settings = settings or load_settings()

    async def run() -> Result:
        guard_logs()
        make_data_dir(settings.data_dir)
        try:
            async with Database(settings.store_url, synchronous=settings.sqlite_synchronous) as database:
                await database.upgrade()
                return await work(database, settings)
        except Unavailable:
            raise StartError(f"cannot use the store {redacted_store_url(settings)}; the line above says why") from None
        except MessageError as error:
            raise StartError(str(error)) from None

    return asyncio.run(run())


def redacted_store_url(settings: Settings) -> str:
    """Return the store's URL without a user name or password."""
    return database_url.redacted(settings.store_url)
