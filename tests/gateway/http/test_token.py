"""`POST /token`: the OAuth2 password flow."""

import pytest

from tests.conftest import OwnGateway
from tests.support.client import PASSWORD, App


async def test_a_log_in_answers_as_rfc_6749_says(app: App, alice: str) -> None:
    await app.register(alice)
    response = await app.log_in(alice, grant_type="password")
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Pragma"] == "no-cache"
    body = response.json()
    assert body.pop("access_token").count(".") == 2
    assert body.pop("refresh_token").startswith("gwr_")
    assert body == {"token_type": "bearer", "expires_in": 900, "scope": "chat:read chat:write rooms:manage"}


async def test_a_wrong_password_is_told_in_both_tongues(app: App, alice: str) -> None:
    await app.register(alice)
    response = await app.log_in(alice, "a wrong password")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.headers["Cache-Control"] == "no-store"
    body = response.json()
    assert (body["status"], body["name"]) == (40001, "authentication_failed")
    assert body["error"] == "invalid_grant"
    assert body["error_description"] == body["detail"] == body["message"] == "wrong user name or password"


async def test_the_case_of_a_name_does_not_matter_at_log_in(app: App, alice: str) -> None:
    await app.register(alice)
    assert (await app.log_in(alice.capitalize())).status_code == 200


async def test_the_scopes_that_were_asked_for_and_are_allowed_are_given(app: App, alice: str) -> None:
    await app.register(alice)
    assert (await app.log_in(alice, scope="chat:read admin")).json()["scope"] == "chat:read"
    refused = await app.log_in(alice, scope="admin")
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_scope")


async def test_a_token_of_fewer_scopes_does_less(app: App, alice: str, room: str) -> None:
    await app.register(alice)
    token = (await app.log_in(alice, scope="chat:read")).json()["access_token"]
    async with app.socket(f"?token={token}") as client:
        await client.expect("welcome", scopes=["chat:read"])
        await client.ask("room.join", room=room)
        error = await client.refused("chat.send", room=room, text="hi")
        assert (error["status"], error["name"]) == (40300, "forbidden")
        assert "`chat:write`" in error["message"]


WRONG_FORMS: dict[str, dict[str, str]] = {
    "no fields": {},
    "no password": {"username": "alice"},
    "no name": {"password": PASSWORD},
    "no refresh token": {"grant_type": "refresh_token", "username": "alice", "password": PASSWORD},
    "another grant": {"username": "alice", "password": PASSWORD, "grant_type": "authorization_code"},
}


@pytest.mark.parametrize("form", WRONG_FORMS.values(), ids=WRONG_FORMS)
async def test_a_wrong_form_is_refused_and_not_sent_back(app: App, form: dict[str, str]) -> None:
    response = await app.http.post("/token", data=form)
    assert response.status_code == 422
    body = response.json()
    assert body["name"] == "validation_failed"
    assert body["error"] == ("unsupported_grant_type" if "code" in str(form) else "invalid_request")
    assert response.headers["Cache-Control"] == "no-store"
    assert PASSWORD not in response.text


async def test_json_is_not_a_form(app: App) -> None:
    response = await app.http.post("/token", json={"username": "alice", "password": PASSWORD})
    assert response.status_code == 415


async def test_a_body_of_a_megabyte_is_refused(app: App) -> None:
    response = await app.http.post("/token", data={"username": "alice", "password": "x" * 1_000_000})
    assert response.status_code == 413
    assert response.text == "Content Too Large"  # Starlette's own words


async def test_guesses_at_one_user_are_limited_whether_it_exists_or_not(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(login_rate_per_user=5)
    async with App(gateway) as app:
        await app.register("alice")
        for name in ("alice", "nobody"):
            statuses = [(await app.log_in(name, "a wrong password")).status_code for _ in range(7)]
            assert statuses == [401] * 5 + [429] * 2
        refused = await app.log_in("Alice")
        assert (refused.status_code, refused.json()["name"]) == (429, "rate_limited")
        assert 0 < int(refused.headers["Retry-After"]) <= 12
        assert (await app.log_in("bob", "a wrong password")).status_code == 401
        gateway.clock.ahead += 12
        assert (await app.log_in("alice")).status_code == 200


async def test_guesses_from_one_address_are_limited(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(login_rate_per_address=3)
    async with App(gateway) as app:
        statuses = [(await app.log_in(f"user-{number}", "a password")).status_code for number in range(5)]
        assert statuses == [401] * 3 + [429] * 2
        gateway.clock.ahead += 20
        assert (await app.log_in("user-9", "a password")).status_code == 401


async def test_the_authorize_button_of_the_documentation_finds_the_password_flow(app: App) -> None:
    schema = (await app.http.get("/openapi.json")).json()
    [scheme] = [each for each in schema["components"]["securitySchemes"].values() if each["type"] == "oauth2"]
    assert scheme["flows"]["password"]["tokenUrl"] == "token"
    form = schema["components"]["schemas"]["Body_log_in_token_post"]["properties"]
    assert {"username", "password", "scope", "grant_type"} <= form.keys()
