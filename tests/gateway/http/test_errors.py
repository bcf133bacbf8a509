"""Errors over HTTP speak the words of the protocol."""

from collections.abc import AsyncIterator

from tests.client import App


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
    assert (response.json()["status"], response.json()["name"]) == (40500, "method_not_allowed")


async def test_the_socket_is_no_page(app: App) -> None:
    assert (await app.http.get("/ws/chat")).status_code == 404


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


async def test_a_path_with_a_slash_too_many_leads_nowhere_else(app: App) -> None:
    assert (await app.http.post("/token/", data={"username": "alice", "password": "a secret"})).status_code == 404
