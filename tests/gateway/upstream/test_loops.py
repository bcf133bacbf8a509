"""Routes that lead back to the gateway, which the file cannot show: behind a proxy, the gateway has other names."""

from pathlib import Path

import pytest

from gateway.testing import StartGateway
from tests.support.client import App
from tests.support.metrics import metrics_of
from tests.support.upstreams import SECRET

BACK = [
    "/call/orders.create",
    "/call/chat.send",
    "/api/publish",
    "/hook/gwk_0123456789abcdef_x",
    "/token",
    "/users",
    "/",
]


def write(path: Path, text: str) -> None:
    path.write_text(text)


@pytest.mark.parametrize("back", BACK)
async def test_a_message_that_comes_back_goes_no_further(
    start_gateway: StartGateway, tmp_path: Path, back: str
) -> None:
    path = tmp_path / "routes.toml"
    write(path, "scopes = []\n")
    gateway = start_gateway(routes=path)
    write(path, f'[routes."orders.*"]\nurl = "{gateway.url}{back}"\nsecret = "{SECRET}"\n')
    await gateway.run(gateway.state.routes.reload())
    async with App(gateway) as app, app.connect("alice") as client:
        assert (await client.refused("orders.create"))["status"] == 50200
        await client.expect_nothing()
        counted = await metrics_of(app)
        assert counted['gateway_upstream_calls_total{outcome="failed",route="orders.*"}'] == 1
        assert counted['gateway_messages_total{type="upstream"}'] == 1
