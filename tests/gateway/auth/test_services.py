"""Services authenticate with a key, and nothing but the whole key of a living service does."""

import pytest

from gateway.auth import service_keys
from gateway.auth.service_keys import ServiceKey
from gateway.auth.services import ServiceAuth
from gateway.core.client_info import ClientInfo
from handlers.errors import AuthenticationFailed, Forbidden, MissingScope
from tests.support.client import App
from tests.support.services import add_service

pytestmark = pytest.mark.both_stores

CLIENT = ClientInfo("192.0.2.1")


async def authenticate(app: App, text: str) -> ServiceAuth:
    return await app.gateway.run(app.gateway.state.services.authenticate(text, CLIENT))


async def test_a_key_stands_for_its_service(app: App, alice: str) -> None:
    key = await add_service(app.gateway, alice, "api:publish", "server", rooms=["order-*", "lobby"])
    auth = await authenticate(app, key)
    assert (auth.name, auth.sender) == (alice, f"service:{alice}")
    assert (auth.scopes, auth.expires_at, auth.room) == (frozenset({"api:publish", "server"}), None, None)
    auth.check_scope("server")
    auth.check_room("order-7")
    with pytest.raises(MissingScope, match="`api:rooms`"):
        auth.check_scope("api:rooms")
    with pytest.raises(Forbidden, match=r"order-\* lobby"):
        auth.check_room("news")


async def test_without_patterns_a_service_may_use_every_room(app: App, alice: str) -> None:
    auth = await authenticate(app, await add_service(app.gateway, alice, "api:publish"))
    auth.check_room("news")


async def test_a_key_with_one_character_changed_is_refused(app: App, alice: str) -> None:
    key = await add_service(app.gateway, alice, "api:publish")
    for place, character in enumerate(key):
        changed = key[:place] + ("A" if character != "A" else "b") + key[place + 1 :]
        with pytest.raises(AuthenticationFailed):
            await authenticate(app, changed)
    for wrong in (key + "x", key[:-1], key + "\n", "gwk_", "", key.upper(), f" {key}"):
        with pytest.raises(AuthenticationFailed):
            await authenticate(app, wrong)
    assert (await authenticate(app, key)).name == alice


async def test_an_unknown_id_is_compared_too() -> None:
    assert not service_keys.new().matches(None)
    key = ServiceKey("0" * 16, "s" * 43)
    assert key.matches(key.hash)
    assert key.secret not in repr(key)
