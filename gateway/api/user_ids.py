"""The ids of users, by the names that services know."""

from functools import partial

from gateway.state import GatewayState
from gateway.store import users
from gateway.store.users import UserRow
from handlers.errors import NotFound


async def user_of(state: GatewayState, name: str) -> UserRow:
    """Return a user, or raise `NotFound`."""
    found = await state.database.query(partial(users.by_name, name=name))
    if found is None:
        raise NotFound(f"there is no user `{name}`")
    return found


async def user_id_of(state: GatewayState, name: str) -> str:
    """Return the id of a user, or raise `NotFound`."""
    return (await user_of(state, name)).id
