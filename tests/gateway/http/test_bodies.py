"""A body of the wrong kind, with a field twice, or too long: the refusal says what to send."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import APIRouter, Request

from gateway.app import MAX_BODY_BYTES
from tests.conftest import OwnGateway
from tests.support.client import PASSWORD, App

FORM = "expected a form (application/x-www-form-urlencoded), got "
JSON = "expected JSON (application/json), got "
NEW = {"username": "someone", "password": PASSWORD}


@pytest.mark.parametrize("path", ["/token", "/token/revoke"])
@pytest.mark.parametrize(
    ("sent", "got"),
    [
        ({"json": NEW}, "application/json"),
        ({"content": b"username=a&password=b"}, "no Content-Type"),
        ({"content": b"username=a", "headers": {"Content-Type": "text/plain; charset=utf-8"}}, "text/plain"),
        ({"content": b"<a/>", "headers": [(b"Content-Type", b"a\x80b" + b"x" * 500)]}, "ab" + "x" * 97),
    ],
)
async def test_what_is_no_form_is_told_what_was_expected_and_what_came(
    app: App, path: str, sent: dict[str, Any], got: str
) -> None:
    response = await app.http.post(path, **sent)
    assert response.status_code == 415
    body = response.json()
    assert (body["status"], body["name"]) == (41500, "unsupported_media_type")
    assert (body["error"], body["error_description"]) == ("invalid_request", FORM + got)
    assert response.headers["Cache-Control"] == "no-store"
    assert PASSWORD not in response.text


@pytest.mark.parametrize(
    ("sent", "got"),
    [
        ({"data": NEW}, "application/x-www-form-urlencoded"),
        ({"content": b"{}"}, "no Content-Type"),
        ({"content": b"{}", "headers": {"Content-Type": "text/json"}}, "text/json"),
    ],
)
async def test_what_is_no_json_is_told_what_was_expected_and_what_came(
    app: App, alice: str, sent: dict[str, Any], got: str
) -> None:
    token = await app.token(alice)
    for response in (await app.http.post("/users", **sent), await with_bearer(app, "/users/me/password", token, sent)):
        assert response.status_code == 415
        body = response.json()
        assert (body["status"], body["name"], body["message"]) == (41500, "unsupported_media_type", JSON + got)
        assert PASSWORD not in response.text


async def with_bearer(app: App, path: str, token: str, sent: dict[str, Any]) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {token}"} | sent.get("headers", {})
    return await app.http.put(path, **(sent | {"headers": headers}))


async def test_other_ways_to_write_the_right_kind_are_fine(app: App, alice: str) -> None:
    kinds = {"Content-Type": "Application/Vnd.App+JSON; charset=utf-8"}
    content = b'{"username": "%b", "password": "%b"}' % (alice.encode(), PASSWORD.encode())
    assert (await app.http.post("/users", content=content, headers=kinds)).status_code == 201
    form = {"username": (None, alice), "password": (None, PASSWORD)}
    assert (await app.http.post("/token", files=form)).status_code == 200  # multipart, as Postman's form-data is
    kinds = {"Content-Type": "application/x-www-form-urlencoded;charset=UTF-8"}
    content = str(httpx2.QueryParams({"username": alice, "password": PASSWORD})).encode()
    assert (await app.http.post("/token", content=content, headers=kinds)).status_code == 200


@pytest.mark.parametrize("kind", [None, "application/json", "application/x-www-form-urlencoded"])
async def test_an_empty_body_lacks_its_fields(app: App, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    response = await app.http.post("/token", headers=headers)
    assert response.status_code == (415 if kind == "application/json" else 422)
    assert response.json()["error"] == "invalid_request"
    assert (await app.http.post("/users", headers=headers)).status_code == 422


@pytest.mark.parametrize(
    ("path", "form", "twice"),
    [
        ("/token", "username=a&username=b&password=c", "username"),
        ("/token", "username=a&password=b&password=c", "password"),
        ("/token", "grant_type=password&username=a&password=c&grant_type=password", "grant_type"),
        ("/token", "grant_type=refresh_token&refresh_token=a&refresh_token=b", "refresh_token"),
        ("/token", "username=a&password=b&scope=chat%3Aread&scope=admin", "scope"),
        ("/token", "username=a&password=b&client_id=x&client_id=y", "client_id"),
        ("/token", "username=a&password=b&usern%61me=c", "username"),
        ("/token/revoke", "token=a&token=b", "token"),
    ],
)
async def test_a_field_that_comes_twice_is_an_invalid_request(app: App, path: str, form: str, twice: str) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    response = await app.http.post(path, content=form.encode(), headers=headers)
    assert response.status_code == 422
    body = response.json()
    assert (body["status"], body["error"]) == (42200, "invalid_request")
    assert body["details"] == [{"field": twice, "message": "expected once, got 2 times"}]


async def test_asking_about_a_token_takes_one_token(app: App, alice: str) -> None:
    token = await app.token(alice)
    response = await app.ask("POST", "/token/introspect", token, data={"token": ["a", "b"]})
    assert (response.status_code, response.json()["error"]) == (422, "invalid_request")


async def endless(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 1024 + 1):
        yield b" " * 1024


@pytest.mark.parametrize("path", ["/users", "/token"])
async def test_a_body_beyond_the_limit_is_refused_with_and_without_its_length(app: App, path: str) -> None:
    kind = {"Content-Type": "application/json" if path == "/users" else "application/x-www-form-urlencoded"}
    told = await app.http.post(path, content=b" " * (MAX_BODY_BYTES + 1), headers=kind)
    assert (told.status_code, told.text) == (413, "Content Too Large")
    untold = await app.http.post(path, content=endless(MAX_BODY_BYTES), headers=kind)
    assert (untold.status_code, untold.json()["status"]) == (413, 41300)


async def test_an_applications_own_routes_take_more_unless_they_say_so(own_gateway: OwnGateway) -> None:
    router = APIRouter()

    @router.post("/upload")
    @router.post("/small", max_body_size=10)
    async def upload(request: Request) -> int:
        return len(await request.body())

    async with App(own_gateway(extend=lambda app: app.include_router(router))) as app:
        megabyte = b"x" * 1_000_000
        response = await app.http.post("/upload", content=megabyte)
        assert (response.status_code, response.json()) == (200, 1_000_000)
        assert (await app.http.post("/small", content=megabyte)).status_code == 413
        assert (await app.http.post("/users", content=megabyte)).status_code == 413


NOT_STRICT = [
    b'{"username":"first","username":"second","password":"correct horse"}',
    b'{"username":"alice","password":"correct horse","full_name":"a\\u0000b"}',
    b'{"username":"alice","password":"correct horse","full_name":NaN}',
    b'{"username":"alice","password":"correct horse","full_name":"\\ud800"}',
    b"\xff",
    b"[" * 8000,
]


@pytest.mark.parametrize(("method", "path"), [("POST", "/users"), ("PUT", "/users/me/password")])
async def test_json_of_users_is_read_as_strictly_as_on_the_socket(app: App, alice: str, method: str, path: str) -> None:
    headers = {"Authorization": f"Bearer {await app.token(alice)}", "Content-Type": "application/json"}
    for body in NOT_STRICT:
        response = await app.http.request(method, path, content=body, headers=headers)
        assert (response.status_code, response.json()["status"]) == (400, 40000), body
