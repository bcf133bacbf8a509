"""Every kind of credential at every place: only the right ones work, and no log has one."""

import io
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

import pytest

from tests.conftest import OwnGateway
from tests.support.client import PASSWORD, App
from tests.support.services import add_service

OTHER_PASSWORD = "another battery staple"
WRONG_PASSWORD = "a wrong password of mine"


@dataclass(frozen=True)
class Credentials:
    """One of each kind. Spent, revoked, expired and used ones are no longer valid."""

    access: str
    refresh: str
    spent_refresh: str
    revoked_access: str
    revoked_refresh: str
    expired_access: str
    ticket: str
    used_ticket: str
    service_key: str
    service_token: str
    revoked_key: str
    hook_key: str
    password: str = PASSWORD
    nonsense: str = "nonsense"

    def all(self) -> list[str]:
        return [value for value in vars(self).values() if len(value) > 10]


async def header(app: App, credential: str) -> bool:
    headers = [(b"Authorization", f"Bearer {credential}".encode())]
    return (await app.http.get("/users/me", headers=headers)).status_code == 200


async def socket_header(app: App, credential: str) -> bool:
    async with app.socket(additional_headers={"Authorization": f"Bearer {credential}"}) as client:
        return bool((await client.next())["type"] == "welcome")


async def socket_query(app: App, credential: str) -> bool:
    async with app.socket(f"?token={quote(credential)}") as client:
        return bool((await client.next())["type"] == "welcome")


async def socket_subprotocol(app: App, credential: str) -> bool:
    async with app.socket(subprotocols=["gateway.v1", f"bearer.{quote(credential)}"]) as client:
        return bool((await client.next())["type"] == "welcome")


async def socket_cookie(app: App, credential: str) -> bool:
    headers = {"Cookie": f"session={quote(credential)}", "Origin": app.gateway.url}
    async with app.socket(additional_headers=headers) as client:
        return bool((await client.next())["type"] == "welcome")


async def socket_ticket(app: App, credential: str) -> bool:
    async with app.socket(f"?ticket={quote(credential)}") as client:
        return bool((await client.next())["type"] == "welcome")


async def first_message(app: App, credential: str) -> bool:
    async with app.socket() as client:
        await client.send({"type": "auth", "data": {"token": credential}})
        return bool((await client.next())["type"] == "welcome")


async def renewing(app: App, credential: str) -> bool:
    async with app.connect("alice") as client:
        answer = await client.until(id=await client.start("auth.refresh", token=credential))
        return bool(answer["type"] == "reply")


async def buying_a_ticket(app: App, credential: str) -> bool:
    headers = [(b"Authorization", f"Bearer {credential}".encode())]
    return (await app.http.post("/ws/ticket", headers=headers)).status_code == 200


async def refreshing(app: App, credential: str) -> bool:
    return (await app.refresh(credential)).status_code == 200


async def introspecting(app: App, credential: str) -> bool:
    headers = [(b"Authorization", f"Bearer {credential}".encode())]
    response = await app.http.post("/token/introspect", data={"token": "x"}, headers=headers)
    return response.status_code == 200


async def introspecting_by_basic(app: App, credential: str) -> bool:
    response = await app.http.post("/token/introspect", data={"token": "x"}, auth=("orders", credential))
    return response.status_code == 200


async def introspecting_by_query(app: App, credential: str) -> bool:
    response = await app.http.post("/token/introspect", data={"token": "x"}, params={"key": credential})
    return response.status_code == 200


async def buying_a_token(app: App, credential: str) -> bool:
    form = {"grant_type": "client_credentials", "client_id": "orders", "client_secret": credential}
    return (await app.http.post("/token", data=form)).status_code == 200


async def logging_in(app: App, credential: str) -> bool:
    return (await app.log_in("alice", credential)).status_code == 200


Place = Callable[[App, str], Awaitable[bool]]

RIGHT: dict[Place, set[str]] = {
    header: {"access"},
    socket_header: {"access"},
    socket_subprotocol: {"access"},
    socket_query: {"access"},
    socket_cookie: {"access"},
    first_message: {"access"},
    renewing: {"access"},
    buying_a_ticket: {"access"},
    socket_ticket: {"ticket"},
    introspecting: {"service_key", "service_token"},
    introspecting_by_basic: {"service_key"},
    introspecting_by_query: set(),
    buying_a_token: {"service_key"},
    refreshing: {"refresh"},
    logging_in: {"password"},
}


@pytest.fixture
def everything_logged() -> Iterator[io.StringIO]:
    """All that any logger writes, at every level, without the gateway's filters."""
    sink = io.StringIO()
    handler = logging.StreamHandler(sink)
    root = logging.getLogger()
    names = ["", "uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "gateway", "sqlalchemy.engine"]
    levels = {name: logging.getLogger(name).level for name in names}
    root.addHandler(handler)
    for name in names:
        logging.getLogger(name).setLevel(5 if name else logging.INFO)
    clients = logging.getLogger("httpx2")  # the test's own, which logs the URLs that it asks
    levels["httpx2"] = clients.level
    clients.setLevel(logging.WARNING)
    yield sink
    root.removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
async def app(own_gateway: OwnGateway, everything_logged: io.StringIO) -> AsyncIterator[App]:
    async with App(own_gateway(options={"log_level": 5})) as app:
        yield app


async def credentials(app: App) -> Credentials:
    """Get one of each kind, of a user and a service that may do all that is requested below."""
    gateway = app.gateway
    await app.register("alice")
    service_key = await add_service(gateway, "orders", "server")
    revoked_key = await add_service(gateway, "former", "server")
    await app.http.post("/token/revoke", data={"token": revoked_key})
    form = {"grant_type": "client_credentials", "client_id": "orders", "client_secret": service_key}
    gateway.clock.ahead -= 1000
    expired = await app.grant("alice")
    gateway.clock.ahead += 1000
    revoked = await app.grant("alice")
    await app.http.post("/token/revoke", data={"token": revoked["access_token"]})
    reused = await app.grant("alice")
    await app.refresh(reused["refresh_token"])
    gateway.clock.ahead += 11
    live = await app.grant("alice")
    ticket, used = [await _ticket(app, live["access_token"]) for _ in range(2)]
    assert await socket_ticket(app, used)
    return Credentials(
        access=live["access_token"],
        refresh=live["refresh_token"],
        spent_refresh=reused["refresh_token"],
        revoked_access=revoked["access_token"],
        revoked_refresh=revoked["refresh_token"],
        expired_access=expired["access_token"],
        ticket=ticket,
        used_ticket=used,
        service_key=service_key,
        service_token=(await app.http.post("/token", data=form)).json()["access_token"],
        revoked_key=revoked_key,
        hook_key=await add_service(gateway, "ci", "api:publish", rooms=["lobby"], hook_of="lobby"),
    )


async def _ticket(app: App, token: str) -> str:
    ticket: str = (await app.ask("POST", "/ws/ticket", token)).json()["ticket"]
    return ticket


async def test_each_credential_opens_its_own_doors_only_and_is_in_no_log(
    app: App, everything_logged: io.StringIO
) -> None:
    mine = await credentials(app)
    opened = {
        place: {kind for kind, credential in vars(mine).items() if await place(app, credential)} for place in RIGHT
    }
    assert {place.__name__: kinds for place, kinds in opened.items()} == {
        place.__name__: kinds for place, kinds in RIGHT.items()
    }

    for credential in (mine.service_key, mine.revoked_key, mine.hook_key):  # in the path of an incoming webhook
        await app.http.post(f"/hook/{quote(credential)}", content="Hello")
        await app.http.post(f"/hook/{credential.replace('_', '%5F')}?x={quote(credential)}", content="Hello")
    later = await app.grant("alice")
    for old in (WRONG_PASSWORD, PASSWORD):
        body = {"old_password": old, "new_password": OTHER_PASSWORD}
        await app.ask("PUT", "/users/me/password", later["access_token"], json=body)
    await app.log_in(PASSWORD, "alice")  # typed into each other's field
    await app.http.post("/token/revoke", data={"token": later["refresh_token"]})

    log = everything_logged.getvalue()
    assert '"WebSocket /ws/chat" [accepted]' in log
    log += (app.gateway.settings.data_dir / "audit.log").read_text()
    assert json.loads(log.splitlines()[-1])["event"]
    key = (app.gateway.settings.data_dir / "secret_key").read_text().strip()
    tokens = later["access_token"], later["refresh_token"]
    store = b"".join(file.read_bytes() for file in app.gateway.settings.data_dir.glob("gateway.db*"))
    assert b"alice" in store
    assert not [secret for secret in (*mine.all(), *tokens, OTHER_PASSWORD, key) if secret.encode() in store]
    for secret in (*mine.all(), *tokens, WRONG_PASSWORD, OTHER_PASSWORD, key):
        parts = [secret[start : start + 20] for start in range(max(1, len(secret) - 19))]
        assert not [line for line in log.splitlines() if any(part in line for part in parts)]
