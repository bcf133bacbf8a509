"""The headers of every answer."""

import io
import json
import logging

import pytest

from gateway.core.logs import JsonFormatter, TextFormatter
from tests.support.client import App


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


async def test_a_connection_has_an_id_of_the_gateways_own_which_no_client_can_choose(app: App, alice: str) -> None:
    token = await app.token(alice)
    given = {"X-Request-ID": "from-the-proxy.2"}
    async with app.socket(f"?token={token}", additional_headers=given) as client:
        mine = (await client.expect("welcome"))["connection"]
        async with app.socket(f"?token={token}", additional_headers={"X-Request-ID": mine}) as other:
            assert len({mine, (await other.expect("welcome"))["connection"], *given.values()}) == 3
        assert client.ws.response is not None
        assert client.ws.response.headers["X-Request-ID"] == mine


@pytest.mark.parametrize("form", ["text", "json"])
async def test_the_id_that_a_proxy_gave_a_connection_is_in_its_log_lines(app: App, form: str) -> None:
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logger = logging.getLogger("gateway.http.handshake_refusals")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        async with app.socket("?token=x", additional_headers={"X-Request-ID": "from-the-proxy.3"}) as client:
            await client.expect("error")
            assert client.ws.response is not None
            own = client.ws.response.headers["X-Request-ID"]
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    if form == "text":
        assert f" {own}/from-the-proxy.3 gateway.http.handshake_refusals: refused" in lines.getvalue()
    else:
        entry = json.loads(lines.getvalue())
        assert (entry["request_id"], entry["client_request_id"]) == (own, "from-the-proxy.3")
