"""The scope that each type of message needs: the whole table, one scope at a time."""

from contextlib import AsyncExitStack

from handlers.registry import HANDLERS
from tests.conftest import OwnGateway
from tests.handlers.test_system import add_admin
from tests.support.client import PASSWORD, App

NEEDED = {name: handler.scope for name, handler in HANDLERS.items()}
SCOPES = {"chat:read", "chat:write", "rooms:manage", "admin"}


def test_only_what_concerns_no_other_user_needs_no_scope() -> None:
    free = {"ping", "echo", "bye", "cancel", "auth", "auth.refresh"}
    assert {name for name, scope in NEEDED.items() if scope is None} == free
    assert {scope for scope in NEEDED.values() if scope is not None} == SCOPES


async def test_each_message_is_refused_without_its_scope_and_with_all_others_and_let_through_with_it_alone(
    own_gateway: OwnGateway,
) -> None:
    gateway = own_gateway()
    async with App(gateway) as app, AsyncExitStack() as stack:
        await gateway.run(add_admin(gateway, "alice"))
        for scope in sorted(SCOPES):
            for asked, is_allowed in ((scope, True), (" ".join(SCOPES - {scope}), False)):
                answer = await app.log_in("alice", PASSWORD, scope=asked)
                client = await stack.enter_async_context(app.socket(f"?token={answer.json()['access_token']}"))
                await client.expect("welcome", scopes=sorted(asked.split()))
                for name in (name for name, needed in NEEDED.items() if needed == scope):
                    error = await client.refused(name, no_such_field=1)
                    if is_allowed:
                        assert error["status"] == 42200, (name, error)  # it got as far as its fields
                    else:
                        assert (error["status"], error["name"]) == (40300, "forbidden"), (name, error)
                        assert f"`{scope}`" in error["message"], (name, error)
                await client.expect_nothing()
