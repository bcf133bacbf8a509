"""Errors over HTTP speak the words of the protocol."""

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
