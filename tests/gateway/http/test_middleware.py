"""What every answer carries."""

import pytest

from tests.client import App


async def test_every_answer_has_an_id_and_the_time_it_took(app: App) -> None:
    ids = set()
    for path in ("/healthz", "/nothing-here", "/users/me"):
        response = await app.http.get(path)
        ids.add(response.headers["X-Request-ID"])
        assert response.headers["Server-Timing"].startswith("app;dur=")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "server" not in response.headers
    assert len(ids) == 3


async def test_the_id_of_a_proxy_is_kept(app: App) -> None:
    response = await app.http.get("/healthz", headers={"X-Request-ID": "from-the-proxy.1"})
    assert response.headers["X-Request-ID"] == "from-the-proxy.1"


@pytest.mark.parametrize("given", ["short", "x" * 65, "with spaces in it", "ünïcödé-id", "<script>alert</script>"])
async def test_an_id_that_could_write_into_the_log_is_not_kept(app: App, given: str) -> None:
    response = await app.http.get("/healthz", headers=[(b"X-Request-ID", given.encode())])
    assert response.headers["X-Request-ID"] != given


async def test_a_connection_is_named_by_the_id_of_its_handshake(app: App, alice: str) -> None:
    headers = {"X-Request-ID": "from-the-proxy.2"}
    async with app.socket(f"?token={await app.token(alice)}", additional_headers=headers) as client:
        await client.expect("welcome", connection="from-the-proxy.2")
        assert client.ws.response is not None
        assert client.ws.response.headers["X-Request-ID"] == "from-the-proxy.2"
