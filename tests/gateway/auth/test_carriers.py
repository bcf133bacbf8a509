"""Where a connection carries its credential."""

import pytest

from tests.client import App


async def test_a_token_may_come_in_the_query(app: App, alice: str) -> None:
    async with app.socket(f"?token={await app.token(alice)}") as client:
        await client.expect("welcome", user=alice)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_token_may_come_in_an_authorization_header(app: App, alice: str, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {await app.token(alice)}"}
    async with app.socket(additional_headers=headers) as client:
        await client.expect("welcome", user=alice)


async def test_the_header_goes_before_the_query(app: App, alice: str, bob: str) -> None:
    headers = {"Authorization": f"Bearer {await app.token(alice)}"}
    async with app.socket(f"?token={await app.token(bob)}", additional_headers=headers) as client:
        await client.expect("welcome", user=alice)
    async with app.socket(
        f"?token={await app.token(bob)}", additional_headers={"Authorization": "Bearer nonsense"}
    ) as client:
        await client.expect("error", status=40001)


@pytest.mark.parametrize("query", ["", "?token=", "?tokn=x", "?token=%00", "?token=a&token=b"])
async def test_without_a_credential_the_handshake_is_refused_in_words(app: App, query: str) -> None:
    async with app.socket(query) as client:
        error = await client.expect("error", id=None, status=40001)
        assert error["message"]
        await client.expect("bye", code=1008)
        await client.expect_close(1008, "authentication_failed")


@pytest.mark.parametrize(
    "headers", [{"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}, {"Authorization": ""}]
)
async def test_other_authorization_headers_are_no_credential(app: App, headers: dict[str, str]) -> None:
    async with app.socket(additional_headers=headers) as client:
        error = await client.expect("error", status=40001)
        assert "no credential" in error["message"]


async def test_the_query_token_is_not_a_credential_of_the_http_api(app: App, alice: str) -> None:
    response = await app.http.get(f"/users/me?token={await app.token(alice)}")
    assert response.status_code == 401
