"""The services that check a credential."""

from tests.support.client import App


async def test_the_gateways_own_service_can_be_named(app: App, alice: str) -> None:
    async with app.socket(f"?token={await app.token(alice)}&service=gateway") as client:
        await client.expect("welcome", user=alice)


async def test_an_unknown_service_is_refused_with_the_known_ones(app: App, alice: str) -> None:
    async with app.socket(f"?token={await app.token(alice)}&service=facebook") as client:
        error = await client.expect("error", status=40001, name="authentication_failed")
        assert error["message"] == "unknown service; expected one of `gateway`"
        await client.expect("bye", code=1008)
