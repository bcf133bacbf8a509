"""`GET /metrics`: only for Prometheus."""

import pytest

from tests.conftest import OwnGateway
from tests.support.client import App
from tests.support.metrics import metrics_of

TOKEN = "0123456789abcdef-ghij"
PRODUCTION = {"environment": "production", "secret_key": "kY7w-3pXc9ZtQ2vLr8mNs4dFg6hJb1aE", "password_rounds": 10}


async def test_what_clients_do_is_counted_and_none_of_what_they_send(own_gateway: OwnGateway) -> None:
    room, alice = "a-room-of-mine", "alice-of-mine"
    async with App(own_gateway()) as app:  # a room that others have left is forgotten after a while
        before = await metrics_of(app)
        async with app.in_room(alice, room) as client:
            await client.say(room, "a-secret-of-mine")
            await client.refused("no.such.type")
            now = await metrics_of(app)
            assert now["gateway_connections"] == before["gateway_connections"] + 1
            assert now["gateway_rooms_heard"] == before["gateway_rooms_heard"] + 1
            for kind in ("room.join", "chat.send", "refused"):
                name = f'gateway_messages_total{{type="{kind}"}}'
                assert now[name] == before.get(name, 0) + 1
            assert (now["gateway_bus_up"], now["gateway_writes_waiting"]) == (1, 0)
            text = (await app.http.get("/metrics")).text
            for private in (alice, room, "a-secret-of-mine", "no.such.type"):
                assert private not in text
            await client.send({"type": "bye"})
            await client.until(type="bye")
        name = 'gateway_connections_ended_total{code="1000",reason="bye"}'
        assert (await metrics_of(app))[name] == before.get(name, 0) + 1


@pytest.mark.parametrize("given", [None, "wrong", TOKEN + "x", "☃"])
async def test_in_production_only_the_token_reads_metrics(own_gateway: OwnGateway, given: str | None) -> None:
    async with App(own_gateway(**PRODUCTION, metrics_token=TOKEN)) as app:
        headers = {} if given is None else {b"Authorization": f"Bearer {given}".encode()}
        refused = await app.http.get("/metrics", headers=headers)
        assert (refused.status_code, refused.json()["status"]) == (401, 40001)
        assert "gateway_connections" not in refused.text
        assert (
            "gateway_connections" in (await app.http.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})).text
        )


async def test_in_production_without_a_token_there_is_no_such_page(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(**PRODUCTION)) as app:
        for headers in ({}, {"Authorization": "Bearer"}, {"Authorization": "Bearer None"}):
            assert (await app.http.get("/metrics", headers=headers)).status_code == 404
