"""A gateway inside another application: all of it below its prefix, and nothing of it above."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from gateway import attach, create_app, publisher_of
from gateway.cli.serve import server_config
from gateway.config.settings import Settings
from gateway.testing import Gateway, MovableClock, running_gateway, settings_for_tests
from gateway.testing.server import serving
from tests.support.client import App

pytestmark = pytest.mark.server


@dataclass(frozen=True)
class Below(Gateway):
    """A gateway below a prefix."""

    prefix: str = "/rt"

    @property
    def url(self) -> str:
        return super().url + self.prefix

    @property
    def ws_url(self) -> str:
        return super().ws_url + self.prefix


class Teapot(Exception):
    """An error that only the host knows."""


class Counting:
    """A middleware of the host."""

    def __init__(self, app: ASGIApp, seen: list[str]) -> None:
        self.app = app
        self.seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            self.seen.append(scope["path"])
        await self.app(scope, receive, send)


def make_host(events: list[str]) -> FastAPI:
    """Make an application with a lifespan, state, a route, middleware, an exception handler and documentation."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        events.append("host starts")
        yield {"shop": "open", "gateway": "of payments"}
        events.append("host ends")

    host = FastAPI(title="The host", lifespan=lifespan)
    host.add_middleware(Counting, seen=events)

    @host.get("/shop")
    async def shop(request: Request) -> dict[str, Any]:
        return {"shop": request.state.shop, "keys": sorted(request.state._state)}

    @host.get("/teapot")
    async def teapot() -> None:
        raise Teapot

    @host.get("/gone")
    async def gone() -> None:
        raise HTTPException(410, "sold")

    @host.exception_handler(Teapot)
    async def short_and_stout(_: Request, __: Exception) -> JSONResponse:
        return JSONResponse({"i_am": "a teapot"}, status_code=418)

    return host


@contextmanager
def running_host(host: FastAPI, settings: Settings, prefix: str = "/rt", **options: Any) -> Iterator[Below]:
    """Serve a host with plain uvicorn, as its owner would."""
    with serving(uvicorn.Config(host, log_config=None, **options)) as running:
        found: Any = publisher_of(host)._app.running
        yield Below(running.host, running.port, settings, MovableClock(), found.state, running.loop, prefix)


async def test_all_of_a_gateway_works_below_the_prefix_and_the_host_is_as_it_was(tmp_path: Path) -> None:
    events: list[str] = []
    host, settings = make_host(events), settings_for_tests(tmp_path)
    attach(host, "/rt", settings)
    with running_host(host, settings) as gateway:
        async with App(gateway) as app, app.in_room("alice", "lobby") as alice, app.in_room("bob", "lobby") as bob:
            await alice.expect("room.joined")
            await alice.say("lobby", "hello")
            await bob.expect("chat.message", text="hello")
            assert (await app.http.get("/")).status_code == 200
            assert "console.js" in (await app.http.get("/")).text
            assert (await app.http.get("/console.js")).status_code == 200
            assert (await app.http.get("/docs")).status_code == 200
            document = (await app.http.get("/openapi.json")).json()
            assert (document["info"]["title"], document["servers"]) == ("json-gateway", [{"url": "/rt"}])
            metadata = (await app.http.get("/.well-known/oauth-authorization-server")).json()
            assert metadata["token_endpoint"] == f"{gateway.url}/token"
            assert (await app.http.get("/nothing")).json()["status"] == 40400
            assert (await app.http.get("/healthz")).status_code == 200
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{gateway.port}") as browser:
            assert (await browser.get("/shop")).json() == {"shop": "open", "keys": ["gateway", "shop"]}
            assert (await browser.get("/teapot")).json() == {"i_am": "a teapot"}
            assert (await browser.get("/gone")).json() == {"detail": "sold"}
            assert (await browser.get("/nothing")).json() == {"detail": "Not Found"}
            assert (await browser.get("/openapi.json")).json()["info"]["title"] == "The host"
            assert list((await browser.get("/openapi.json")).json()["paths"]) == ["/shop", "/teapot", "/gone"]
            assert "X-Request-ID" not in (await browser.get("/shop")).headers
            assert (await browser.get("/rt", follow_redirects=True)).status_code == 200
    assert events[0] == "host starts"
    assert "/rt/ws/chat" in events
    assert events[-1] == "host ends"


async def test_both_lifespans_run_the_gateways_around_the_hosts(tmp_path: Path) -> None:
    events: list[str] = []
    host = make_host(events)

    @asynccontextmanager
    async def own(_: FastAPI) -> AsyncIterator[dict[str, str]]:
        events.append("own starts")
        yield {"pool": "mine"}
        events.append("own ends")

    rt = attach(host, "/rt", settings_for_tests(tmp_path), lifespan=own)

    @rt.get("/pool")
    async def pool(request: Request) -> list[str]:
        return [request.state.pool, request.state.shop, request.url_for("pool").path]

    with serving(uvicorn.Config(host, log_config=None)) as running:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{running.port}") as browser:
            assert (await browser.get("/rt/pool")).json() == ["mine", "open", "/rt/pool"]
    events.remove("/rt/pool")
    assert events == ["own starts", "host starts", "host ends", "own ends"]


@pytest.mark.parametrize("keeps_path", [True, False])
@pytest.mark.parametrize("known_by", ["host", "server", "setting"])
async def test_a_proxy_with_a_path_may_be_in_front(tmp_path: Path, known_by: str, keeps_path: bool) -> None:
    root_path = "/api"
    settings = settings_for_tests(tmp_path, root_path=root_path if known_by == "setting" else "")
    host = make_host([])
    if known_by == "host":
        host.root_path = root_path
    attach(host, "/rt", settings)
    options = {"root_path": root_path} if known_by == "server" else {}
    if known_by == "server" or (known_by == "setting" and keeps_path):
        keeps_path = False  # uvicorn adds the path that it knows; what nothing knows of, nothing can take off
    with running_host(host, settings, "/api/rt" if keeps_path else "/rt", **options) as gateway:
        async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
            await alice.say("lobby", "hello")
            assert (await app.http.get("/openapi.json")).json()["servers"] == [{"url": "/api/rt"}]
            assert (await app.http.get("/healthz")).status_code == 200
            assert (await app.http.get("/docs/docs.js")).status_code == 200
            message = (await app.http.get("/socket.io/")).json()["message"]
            assert message.endswith("open a plain WebSocket at /api/rt/ws/chat")


async def test_limits_of_requests_hold_below_the_prefix_alone(tmp_path: Path) -> None:
    host, settings = make_host([]), settings_for_tests(tmp_path, request_rate=1)
    attach(host, "/rt", settings)
    with running_host(host, settings) as gateway:
        async with App(gateway) as app:
            answers = await asyncio.gather(*(app.http.get("/console.js") for _ in range(5)))
            assert {answer.status_code for answer in answers} == {200, 429}
            for _ in range(3):
                assert (await app.http.get(f"http://127.0.0.1:{gateway.port}/shop")).status_code == 200
                assert (await app.http.get("/healthz")).status_code == 200


async def test_two_prefixes_are_two_gateways(tmp_path: Path) -> None:
    host = make_host([])
    settings = [settings_for_tests(tmp_path / name) for name in ("first", "second")]
    gateways = [attach(host, prefix, each) for prefix, each in zip(("/one", "/two"), settings, strict=True)]
    with pytest.raises(TypeError, match="application with one attached gateway, got one with 2"):
        publisher_of(host)
    with serving(uvicorn.Config(host, log_config=None)) as running:
        for prefix, gateway, each in zip(("/one", "/two"), gateways, settings, strict=True):
            found: Any = publisher_of(gateway)._app.running
            below = Below(running.host, running.port, each, MovableClock(), found.state, running.loop, prefix=prefix)
            async with App(below) as app:
                assert (await app.register("alice")).status_code == 201  # in each of them
                async with app.connect("alice") as alice:
                    assert (await alice.ask("room.list"))["rooms"] == []
                    await alice.ask("room.join", room="lobby")


def test_two_gateways_on_one_folder_are_refused(tmp_path: Path) -> None:
    host, settings = make_host([]), settings_for_tests(tmp_path)
    attach(host, "/one", settings)
    with pytest.raises(ValueError, match="which the gateway at /one has"):
        attach(host, "/two", settings)


@pytest.mark.parametrize("second", ["/rt", "/rt/more", "/shop"])
def test_a_prefix_is_attached_once(tmp_path: Path, second: str) -> None:
    host = make_host([])
    host.mount("/shop", FastAPI())
    attach(host, "/rt", settings_for_tests(tmp_path))
    with pytest.raises(ValueError, match=f"takes {second} already"):
        attach(host, second, settings_for_tests(tmp_path))


def test_a_host_that_takes_every_path_is_noticed(tmp_path: Path) -> None:
    host = FastAPI()
    host.mount("/", FastAPI())
    with pytest.raises(ValueError, match="the route / takes /rt already; attach before it"):
        attach(host, "/rt", settings_for_tests(tmp_path))


@pytest.mark.parametrize("prefix", ["", "/", "rt", "/rt/", "/r t", "/{room}", "//rt", "/rt?x"])
def test_a_wrong_prefix_is_refused(tmp_path: Path, prefix: str) -> None:
    with pytest.raises(ValueError, match="expected a path such as /rt"):
        attach(FastAPI(), prefix, settings_for_tests(tmp_path))


async def test_a_lifespan_of_the_host_that_raises_takes_the_gateway_down(tmp_path: Path) -> None:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        raise OSError("no such pool")
        yield

    settings = settings_for_tests(tmp_path)
    host = FastAPI(lifespan=lifespan)
    attach(host, "/rt", settings)
    with pytest.raises(OSError, match="no such pool"):
        async with host.router.lifespan_context(host):
            pass
    with running_gateway(settings):
        pass


@pytest.mark.parametrize("protocol", ["gateway", "uvicorn", "wsproto"])
async def test_a_gateway_that_is_only_mounted_says_what_to_do(tmp_path: Path, protocol: str) -> None:
    host, settings = make_host([]), settings_for_tests(tmp_path)
    host.mount("/rt", create_app(settings))
    config = {
        "gateway": lambda: server_config(settings, host),
        "uvicorn": lambda: uvicorn.Config(host, log_config=None),
        "wsproto": lambda: uvicorn.Config(host, log_config=None, ws="wsproto"),
    }[protocol]()
    with ExitStack() as stack:
        running = stack.enter_context(serving(config))
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{running.port}") as browser:
            for method, path in (("GET", "/"), ("POST", "/token"), ("GET", "/healthz"), ("DELETE", "/nothing")):
                answer = await browser.request(method, f"/rt{path}")
                assert (answer.status_code, answer.json()["status"]) == (503, 50300)
                assert "attach(app, path)" in answer.json()["message"]
            assert (await browser.get("/shop")).status_code == 200
        for path in ("/ws/chat", "/nothing"):
            with pytest.raises(InvalidStatus) as refused:
                async with connect(f"ws://127.0.0.1:{running.port}/rt{path}"):
                    pass
            assert refused.value.response.status_code == 503
            assert b"attach(app, path)" in refused.value.response.body
    with pytest.raises(RuntimeError, match="does not run"):
        await publisher_of(create_app(settings)).to_all(None)  # type: ignore[arg-type]
