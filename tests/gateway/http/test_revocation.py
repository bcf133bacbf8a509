"""`POST /token/revoke`: logging out (RFC 7009)."""

import pytest

from tests.support.client import App


@pytest.mark.parametrize("kind", ["refresh_token", "access_token"])
@pytest.mark.parametrize("hint", ["", "access_token", "refresh_token", "nonsense"])
async def test_either_token_ends_the_session_whatever_the_hint(app: App, alice: str, kind: str, hint: str) -> None:
    grant, other = await app.grant(alice), await app.grant(alice)
    async with app.connect_with(grant["access_token"]) as client, app.connect_with(other["access_token"]) as elsewhere:
        form = {"token": grant[kind], "token_type_hint": hint}
        response = await app.http.post("/token/revoke", data=form)
        assert (response.status_code, response.content) == (200, b"")
        await client.expect_revoked()
        await elsewhere.expect_nothing()
    refused = await app.ask("GET", "/users/me", grant["access_token"])
    assert (refused.status_code, refused.json()["name"]) == (401, "token_revoked")
    assert (await app.refresh(grant["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await app.refresh(other["refresh_token"])).status_code == 200
    assert (await app.http.post("/token/revoke", data=form)).status_code == 200


@pytest.mark.parametrize("token", ["x", "gwr_" + "a" * 65, "a.b.c", "\0", "é"])
async def test_a_token_that_is_none_is_answered_alike(app: App, token: str) -> None:
    response = await app.http.post("/token/revoke", data={"token": token})
    assert (response.status_code, response.content) == (200, b"")


async def test_a_token_is_needed(app: App) -> None:
    assert (await app.http.post("/token/revoke")).status_code == 422
