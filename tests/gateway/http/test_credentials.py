"""The places of a connection's credential: each alone, several at once, and the words of refusals."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx2
import pytest
from websockets.exceptions import InvalidStatus

from gateway.store import users
from gateway.testing import Gateway, running_gateway, settings_for_tests
from tests.conftest import OwnGateway
from tests.support.client import PASSWORD, App, ChatClient

pytestmark = pytest.mark.server

PAGE = "https://app.example.com"
CARRIERS = ("header", "subprotocol", "ticket", "query", "cookie", "first message")


@asynccontextmanager
async def connecting(app: App, carrier: str, credential: str) -> AsyncIterator[ChatClient]:
    """Connect with a credential in one of the places."""
    options: dict[str, dict[str, Any]] = {
        "header": {"additional_headers": {"Authorization": f"Bearer {credential}"}},
        "subprotocol": {"subprotocols": ["gateway.v1", f"bearer.{credential}"]},
        "ticket": {"query": f"?ticket={credential}"},
        "query": {"query": f"?token={credential}"},
        "cookie": {"additional_headers": {"Cookie": f"theme=dark; session={credential}", "Origin": PAGE}},
    }
    async with app.socket(**options.get(carrier, {})) as client:
        if carrier == "first message":
            await client.send({"type": "auth", "data": {"token": credential}})
        yield client


@dataclass(frozen=True)
class Judged:
    """A gateway, and credentials of every kind for it."""

    gateway: Gateway
    credentials: dict[str, str]
    tickets: dict[str, str]


KINDS = {
    "good": None,
    "expired": (40101, "token_expired"),
    "of a disabled user": (40102, "token_revoked"),
    "for another audience": (40001, "authentication_failed"),
    "garbage": (40001, "authentication_failed"),
    "empty": (40001, "authentication_failed"),
}


@pytest.fixture(scope="module", params=["close", "http"])
def judged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    folder = tmp_path_factory.mktemp("carriers")
    elsewhere = settings_for_tests(folder, token_audience="somebody-else")
    here = settings_for_tests(folder, handshake_rejection=request.param, allowed_origins=(PAGE,))
    with running_gateway(here) as gateway, httpx2.Client(base_url=gateway.url) as http:
        credentials = {"garbage": "x" * 43, "empty": "", "expired": log_in(http, "alice")}
        tickets = {"expired": buy_ticket(http, credentials["expired"])}
        gateway.clock.ahead += 3600
        credentials["of a disabled user"] = log_in(http, "mallory")
        tickets["of a disabled user"] = buy_ticket(http, credentials["of a disabled user"])
        asyncio.run(disable(gateway, "mallory"))
        credentials["good"] = log_in(http, "alice")
        tickets["good"] = buy_ticket(http, credentials["good"])
        with running_gateway(elsewhere) as other, httpx2.Client(base_url=other.url) as there:
            other.clock.ahead = gateway.clock.ahead
            credentials["for another audience"] = log_in(there, "alice")
            tickets["for another audience"] = credentials["for another audience"]
        yield Judged(gateway, credentials, credentials | tickets)


def log_in(http: httpx2.Client, name: str) -> str:
    http.post("/users", json={"username": name, "password": PASSWORD})
    token: str = http.post("/token", data={"username": name, "password": PASSWORD}).json()["access_token"]
    return token


def buy_ticket(http: httpx2.Client, token: str) -> str:
    ticket: str = http.post("/ws/ticket", headers={"Authorization": f"Bearer {token}"}).json()["ticket"]
    return ticket


async def disable(gateway: Gateway, name: str) -> None:
    await gateway.run(gateway.state.database.transact(partial(users.set_disabled, name=name, disabled_at=1)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_credential_is_judged_the_same_wherever_it_is(judged: Judged, carrier: str, kind: str) -> None:
    credential = (judged.tickets if carrier == "ticket" else judged.credentials)[kind]
    told = KINDS[kind]
    if carrier == "ticket" and kind == "expired":
        told = (40001, "authentication_failed")  # it is removed, so it is unknown what it was
    if carrier == "first message" and kind == "empty":
        told = (42200, "authentication_failed")  # a message with a wrong field
    in_band = judged.gateway.settings.handshake_rejection == "close" or carrier == "first message"
    async with App(judged.gateway) as app:
        if told is None or in_band:
            async with connecting(app, carrier, credential) as client:
                if told is None:
                    await client.expect("welcome", user="alice")
                    await client.expect_nothing()
                    return
                await client.expect("error", id=None, status=told[0])
                await client.expect("bye", code=1008, reason=told[1], reconnect="new_credential")
                await client.expect_close(1008, told[1])
            return
        with pytest.raises(InvalidStatus) as refused:
            async with connecting(app, carrier, credential):
                pass
        assert refused.value.response.status_code == 401
        assert refused.value.response.headers["WWW-Authenticate"] == "Bearer"
        assert json.loads(refused.value.response.body)["status"] == told[0]


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
async def test_the_scheme_of_the_header_may_be_written_in_any_case(app: App, alice: str, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {await app.token(alice)}"}
    async with app.socket(additional_headers=headers) as client:
        await client.expect("welcome", user=alice)


@pytest.mark.parametrize("better", CARRIERS)
async def test_of_two_credentials_the_first_in_order_counts_even_if_it_is_bad(
    own_gateway: OwnGateway, better: str
) -> None:
    async with App(own_gateway(allowed_origins=(PAGE,))) as app:
        tokens = {name: await app.token(name) for name in ("alice", "bob")}
        for worse in CARRIERS[CARRIERS.index(better) + 1 : -1]:
            for good in (True, False):
                first = await a_ticket(app, tokens["alice"]) if better == "ticket" else tokens["alice"]
                second = await a_ticket(app, tokens["bob"]) if worse == "ticket" else tokens["bob"]
                async with both(app, (better, first if good else "nonsense"), (worse, second)) as client:
                    await (client.expect("welcome", user="alice") if good else client.expect("error", status=40001))


@asynccontextmanager
async def both(app: App, *credentials: tuple[str, str]) -> AsyncIterator[ChatClient]:
    places = dict(credentials)
    query = "&".join(
        f"{name}={places[key]}" for key, name in (("ticket", "ticket"), ("query", "token")) if key in places
    )
    headers = {"Origin": PAGE}
    if "header" in places:
        headers["Authorization"] = f"Bearer {places['header']}"
    if "cookie" in places:
        headers["Cookie"] = f"session={places['cookie']}"
    offered = ["gateway.v1", f"bearer.{places['subprotocol']}"] if "subprotocol" in places else None
    async with app.socket(f"?{query}", additional_headers=headers, subprotocols=offered) as client:
        yield client


async def a_ticket(app: App, token: str) -> str:
    response = await app.http.post("/ws/ticket", headers={"Authorization": f"Bearer {token}"})
    assert response.status_code == 200, response.text
    ticket: str = response.json()["ticket"]
    return ticket


async def test_of_the_offered_subprotocols_the_token_is_never_sent_back(app: App, alice: str) -> None:
    token = await app.token(alice)
    for offered in (["gateway.v1", f"bearer.{token}"], [f"bearer.{token}", "gateway.v1"], ["soap", "gateway.v1"]):
        async with app.socket(f"?token={token}", subprotocols=offered) as client:
            await client.expect("welcome", user=alice)
            assert client.ws.subprotocol == "gateway.v1"
            assert client.ws.response is not None
            assert token not in str(client.ws.response.headers)


async def test_who_offers_other_subprotocols_gets_none(app: App, alice: str) -> None:
    token = await app.token(alice)
    for offered in ([f"bearer.{token}"], ["soap"], ["Gateway.V1"]):
        async with app.socket(f"?token={token}", subprotocols=offered) as client:
            await client.expect("welcome", user=alice)
            assert client.ws.subprotocol is None


async def test_a_refusal_too_has_the_subprotocol_without_which_a_browser_would_not_show_it(app: App) -> None:
    async with app.socket(subprotocols=["gateway.v1", "bearer.nonsense"]) as client:
        assert client.ws.subprotocol == "gateway.v1"
        await client.expect("error", status=40001)


async def test_a_cookie_counts_only_in_a_browser_once_and_where_it_is_not_turned_off(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(allowed_origins=(PAGE,), auth_timeout_seconds=0)) as app:
        token = await app.token("alice")
        page = ("Origin", PAGE)
        for headers in (
            [("Cookie", f"session={token}")],
            [page, ("Cookie", f"Session={token}; xsession={token}")],
            [page, ("Cookie", f"session={token}; session={token}")],
            [page, ("Cookie", f"session={token}"), ("Cookie", "session=planted")],
        ):
            async with app.socket(additional_headers=headers) as client:
                await client.expect("error", status=40001)
        async with app.socket(additional_headers=[page, ("Cookie", f'a="b;c"; session="{token}" ;d')]) as client:
            await client.expect("welcome", user="alice")
        # The HTTP API takes none, so that no page can use it with its user's cookie.
        assert (await app.http.get("/users/me", headers={"Cookie": f"session={token}"})).status_code == 401
    async with App(own_gateway(session_cookie="", allowed_origins=(PAGE,), auth_timeout_seconds=0)) as app:
        async with app.socket(additional_headers=[page, ("Cookie", f"session={await app.token('alice')}")]) as client:
            await client.expect("error", status=40001)


UNUSABLE: dict[str, dict[str, Any]] = {
    "an empty token": {"query": "?token="},
    "an empty ticket": {"query": "?ticket="},
    "two tokens": {"query": "?token=a&token=b"},
    "two tickets": {"query": "?ticket=a&ticket=b"},
    "a NUL": {"query": "?token=%00"},
    "a ticket that is no text": {"query": "?ticket=" + "%ff" * 43},
    "a ticket of other digits": {"query": "?ticket=" + "%D9%A1" * 43},
    "a ticket of 8,000 characters": {"query": "?ticket=" + "a" * 8000},
    "no service": {"query": "?token=a&service="},
    "an unknown service": {"query": "?token=a&service=%00"},
    "a header with a space too many": {"additional_headers": {"Authorization": "Bearer a b"}},
    "a header beyond ASCII": {"additional_headers": {"Authorization": "Bearer \xff\xfe"}},
    "an empty subprotocol": {"subprotocols": ["gateway.v1", "bearer."]},
    "a cookie beyond ASCII": {"additional_headers": {"Cookie": "session=\xff"}, "origin": True},
    "a cookie with nothing": {"additional_headers": {"Cookie": "session"}, "origin": True},
}


@pytest.mark.parametrize("options", UNUSABLE.values(), ids=UNUSABLE)
async def test_a_place_with_nothing_usable_in_it_is_refused_at_once(app: App, options: dict[str, Any]) -> None:
    if options.get("origin"):
        options = options | {"origin": app.gateway.url}  # the gateway's own
    async with app.socket(**options) as client:
        error = await client.expect("error", id=None, status=40001)
        assert error["message"]
        await client.expect("bye", code=1008)
        await client.expect_close(1008, "authentication_failed")


async def test_the_query_token_is_not_a_credential_of_the_http_api(app: App, alice: str) -> None:
    token = await app.token(alice)
    for path in (f"/users/me?token={token}", f"/users/me?ticket={await a_ticket(app, token)}"):
        assert (await app.http.get(path)).status_code == 401


async def test_a_ticket_is_no_token_and_a_token_no_ticket(app: App, alice: str) -> None:
    token = await app.token(alice)
    for carrier in set(CARRIERS) - {"cookie"}:
        credential = token if carrier == "ticket" else await a_ticket(app, token)
        async with connecting(app, carrier, credential) as client:
            await client.expect("error", status=40001)
    response = await app.http.get("/users/me", headers={"Authorization": f"Bearer {await a_ticket(app, token)}"})
    assert response.status_code == 401


MISPLACED: dict[str, tuple[dict[str, Any], str]] = {
    "access_token in the query": ({"query": "?access_token={}"}, "`token`"),
    "accessToken in the query": ({"query": "?x=1&accessToken={}"}, "`token`"),
    "Token in the query": ({"query": "?Token={}"}, "`token`"),
    "TICKET in the query": ({"query": "?TICKET={}"}, "`ticket`"),
    "jwt in the query": ({"query": "?jwt={}"}, "`token`"),
    "id_token in the query": ({"query": "?id_token={}"}, "`token`"),
    "authorization in the query": ({"query": "?authorization=Bearer%20{}"}, "`token`"),
    "access_token, before the token, as subprotocols": ({"subprotocols": ["access_token", "{}"]}, "`bearer.`"),
    "Authorization and the token as subprotocols": ({"subprotocols": ["Authorization", "{}"]}, "`bearer.`"),
    "gateway.v1 and the bare token as subprotocols": ({"subprotocols": ["gateway.v1", "{}"]}, "`bearer.`"),
    "the bare token as a subprotocol": ({"subprotocols": ["{}"]}, "`bearer.`"),
    "Bearer in capitals as a subprotocol": ({"subprotocols": ["gateway.v1", "Bearer.{}"]}, "`bearer.`"),
    "the token without a scheme": ({"additional_headers": {"Authorization": "{}"}}, "`Authorization: Bearer`"),
    "another scheme": ({"additional_headers": {"Authorization": "Token {}"}}, "`Authorization: Bearer`"),
    "another header": ({"additional_headers": {"X-Auth-Token": "{}"}}, "`Authorization: Bearer`"),
}


@pytest.mark.parametrize(("options", "right"), MISPLACED.values(), ids=MISPLACED)
async def test_a_credential_at_a_place_that_is_not_read_is_refused_at_once_with_the_right_one(
    app: App, alice: str, options: dict[str, Any], right: str
) -> None:
    token = await app.token(alice)
    filled = json.loads(json.dumps(options).replace("{}", token))
    async with app.socket(**filled) as client:
        error = await client.next()
        assert (error["type"], error["status"]) == ("error", 40001)
        assert right in error["message"]
        assert token not in json.dumps(error)
        await client.expect("bye", code=1008, reason="authentication_failed", reconnect="new_credential")
        await client.expect_close(1008, "authentication_failed")
        assert token not in str(client.ws.response)
        # A browser hears of it only if one of the words it offered is answered; never with the token.
        words = [name for name in filled.get("subprotocols", ()) if token not in name]
        assert client.ws.subprotocol == (words[0] if words else None)


@pytest.mark.parametrize(
    "options",
    [
        {"query": "?auth=first&key=abc&theme=dark"},
        {"subprotocols": ["gateway.v1", "json", "chat.token"]},
        {"additional_headers": {"Authorization": "Basic YWxpY2U6eA==", "X-Api-Key": "of-the-proxy"}},
        {"additional_headers": {"Cookie": "token=of-another-page; jwt=likewise"}},
    ],
)
async def test_what_may_be_something_else_is_none_and_the_first_message_is_waited_for(
    app: App, alice: str, options: dict[str, Any]
) -> None:
    token = await app.token(alice)
    async with app.socket(**options) as client:
        await client.send({"type": "auth", "data": {"token": token}})
        await client.expect("welcome", user=alice)


async def test_a_misplaced_credential_is_no_hindrance_to_a_good_one(app: App, alice: str) -> None:
    token = await app.token(alice)
    async with app.socket(f"?access_token=x&token={token}", subprotocols=["gateway.v1", "access_token"]) as client:
        await client.expect("welcome", user=alice)
        assert client.ws.subprotocol == "gateway.v1"
