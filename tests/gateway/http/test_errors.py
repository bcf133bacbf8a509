"""Errors over HTTP have the fields of the protocol."""

import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.chat.authentication import websocket_authentication
from handlers.errors import AppError
from tests.conftest import OwnGateway
from tests.support.client import App
from tests.support.waiting import until


async def test_a_path_with_nothing_at_it_is_not_found(app: App) -> None:
    response = await app.http.get("/nothing-here")
    assert response.status_code == 404
    assert response.json() == {
        "status": 40400,
        "name": "not_found",
        "message": "there is nothing at this path",
        "retryable": False,
    }


async def test_a_method_that_a_path_does_not_know_is_told_so(app: App) -> None:
    response = await app.http.get("/token")
    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"
    assert (await app.http.put("/users/me/sessions")).headers["Allow"] == "DELETE, GET"
    assert (await app.http.get("/users/me/sessions/x")).headers["Allow"] == "DELETE"
    assert (response.json()["status"], response.json()["name"]) == (40500, "method_not_allowed")


async def test_what_the_table_of_the_protocol_has_is_named_as_there(app: App) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 1024

    headers = {"Content-Type": "application/json"}
    long = await app.http.post("/users", content=endless(), headers=headers)
    deep = await app.http.post("/users", content="[" * 8000, headers=headers)
    assert [(each.status_code, each.json()["status"], each.json()["name"]) for each in (long, deep)] == [
        (413, 41300, "too_large"),
        (400, 40000, "bad_frame"),
    ]


async def test_a_value_of_another_kind_is_named_in_the_words_of_json(app: App, alice: str) -> None:
    bearer = {"Authorization": f"Bearer {await app.token(alice)}"}
    for type, data, field, words in (
        ("chat.send", [1], "data", "Input should be an object"),
        ("room.resume", {"rooms": ["lobby"]}, "data.rooms.0", "Input should be an object"),
        ("presence.get", {"users": "alice"}, "data.users", "Input should be an array"),
    ):
        answer = await app.http.post(f"/call/{type}", json=data, headers=bearer)
        assert answer.status_code == 422
        assert answer.json()["details"] == [{"field": field, "message": words}]
    answer = await app.http.post("/users", json=[1])
    assert [detail["message"] for detail in answer.json()["details"]] == ["Input should be an object"]


async def test_a_path_with_a_slash_too_many_leads_nowhere_else(app: App) -> None:
    assert (await app.http.post("/token/", data={"username": "alice", "password": "a secret"})).status_code == 404


class OutOfStock(Exception):
    """An error of an application's own."""


class SoldOut(AppError):
    """An error with the protocol's fields."""

    status = 60001


class Slow(AppError):
    """An error after which a repeat may succeed."""

    status = 60002
    retryable = True
    http_status = 503
    retry_after_ms = 1500


class Odd:
    """A value that JSON does not have."""

    __slots__ = ()


RAISED: dict[str, Callable[[], Exception]] = {
    "words": lambda: HTTPException(404, "there is no order 7", headers={"X-Order": "7"}),
    "nothing": lambda: HTTPException(404),
    "object": lambda: HTTPException(409, {"order": 7, "held_by": ["a", None]}),
    "list": lambda: HTTPException(400, ["a", "b"]),
    "false": lambda: HTTPException(400, False),
    "busy": lambda: HTTPException(503, "come back", headers={"Retry-After": "3"}),
    "teapot": lambda: HTTPException(418),
    "unregistered": lambda: HTTPException(498, "the token is stale"),
    "unregistered-and-silent": lambda: HTTPException(599),
    "unchanged": lambda: HTTPException(304),
    "starlette": lambda: StarletteHTTPException(403, "not yours"),
    "sold-out": lambda: SoldOut("no tickets are left"),
    "slow": lambda: Slow("try later"),
    "own": lambda: OutOfStock("seven"),
    "unencodable": lambda: HTTPException(400, {"surrogate": "\ud800"}),
    "no-json": lambda: HTTPException(400, Odd()),
    "unexpected": lambda: KeyError("a secret detail"),
}


def shop(app: FastAPI) -> None:
    """An application with routes, and an exception handler, of its own."""

    @app.get("/shop/{what}")
    async def raise_it(what: str) -> None:
        raise RAISED[what]()

    @app.exception_handler(OutOfStock)
    async def out_of_stock(_: Request, error: OutOfStock) -> Response:
        return JSONResponse({"out_of_stock": str(error)}, status_code=410)


async def test_what_an_own_route_says_of_its_error_reaches_the_client(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(extend=shop)) as app:

        async def told(what: str) -> tuple[int, Any]:
            response = await app.http.get(f"/shop/{what}")
            return response.status_code, response.json() if response.content else None

        def body(status: int, name: str, message: str, *, retryable: bool = False, **more: Any) -> dict[str, Any]:
            return {"status": status, "name": name, "message": message, "retryable": retryable, **more}

        detail = {"order": 7, "held_by": ["a", None]}
        assert await told("words") == (
            404,
            body(40400, "not_found", "there is no order 7", detail="there is no order 7"),
        )
        assert await told("nothing") == (404, body(40400, "not_found", "there is nothing at this path"))
        assert await told("object") == (409, body(40900, "conflict", "Conflict", detail=detail))
        assert await told("list") == (400, body(40000, "bad_frame", "Bad Request", detail=["a", "b"]))
        assert await told("false") == (400, body(40000, "bad_frame", "Bad Request", detail=False))
        assert await told("busy") == (
            503,
            body(50300, "unavailable", "come back", retryable=True, detail="come back"),
        )
        assert await told("teapot") == (418, body(41800, "i'm_a_teapot", "I'm a Teapot"))
        assert await told("unregistered") == (
            498,
            body(49800, "http_498", "the token is stale", detail="the token is stale"),
        )
        assert await told("unregistered-and-silent") == (599, body(59900, "http_599", "HTTP 599"))
        assert await told("unchanged") == (304, None)
        assert await told("starlette") == (403, body(40300, "forbidden", "not yours", detail="not yours"))
        assert await told("sold-out") == (400, body(60001, "sold_out", "no tickets are left"))
        assert await told("slow") == (503, body(60002, "slow", "try later", retryable=True, retry_after_ms=1500))
        assert await told("own") == (410, {"out_of_stock": "seven"})

        assert (await app.http.get("/shop/words")).headers["X-Order"] == "7"
        assert (await app.http.get("/shop/busy")).headers["Retry-After"] == "3"
        assert (await app.http.get("/shop/slow")).headers["Retry-After"] == "2"


@pytest.mark.parametrize("what", ["unexpected", "unencodable", "no-json"])
async def test_an_error_that_cannot_be_told_is_500_and_logged_once(
    own_gateway: OwnGateway, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    async with App(own_gateway(extend=shop)) as app:
        response = await app.http.get(f"/shop/{what}")
        assert (response.status_code, response.json()["status"]) == (500, 50000)
        assert "secret" not in response.text
        assert response.headers["X-Request-ID"] in response.json()["message"]
        # The server logs it after the answer. What the application logs itself comes before that.
        await until(lambda: _troubles(caplog))
    assert len(_troubles(caplog)) == 1


def _troubles(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    "body", [r'{"\ud800": 1}', r'{"username": "\ud800", "password": "\udfff\ud800"}', r'["\ud800"]']
)
async def test_half_a_character_in_a_body_is_refused_as_on_the_socket(app: App, body: str) -> None:
    response = await app.http.post("/users", content=body, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["status"]) == (400, 40000)


@pytest.mark.parametrize(
    ("error", "status"), [(KeyError("a secret detail"), 50000), (SoldOut("no seats"), 60001), (Slow("later"), 60002)]
)
async def test_a_handshake_that_fails_is_told_so(own_gateway: OwnGateway, error: Exception, status: int) -> None:
    async def fail() -> None:
        raise error

    def extend(app: FastAPI) -> None:
        app.dependency_overrides[websocket_authentication] = fail

    async with App(own_gateway(extend=extend)) as app, app.socket() as client:
        assert "secret" not in str(await client.expect("error", status=status))
        await client.expect("bye")
        with pytest.raises(ConnectionClosed) as closed:
            await client.next()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == {50000: 1011, 60001: 1008, 60002: 1013}[status]


async def test_a_handshake_that_an_own_dependency_refuses_keeps_its_words(own_gateway: OwnGateway) -> None:
    async def fail() -> None:
        raise HTTPException(402, "pay first", headers={"X-Price": "7"})

    def extend(app: FastAPI) -> None:
        app.dependency_overrides[websocket_authentication] = fail

    async with App(own_gateway(extend=extend)) as app:
        with pytest.raises(InvalidStatus) as refused:
            async with app.socket():
                pass
    response = refused.value.response
    assert (response.status_code, response.headers["X-Price"]) == (402, "7")
    assert response.body is not None
    assert json.loads(response.body)["detail"] == "pay first"
