"""`/healthz` and `/readyz`; what they say while something is down is in `tests/test_two_nodes.py`."""

from tests.support.client import App


async def test_a_gateway_that_runs_is_healthy_and_ready(app: App) -> None:
    assert (await app.http.get("/healthz")).json() == {"status": "ok"}
    ready = {"status": "ready", "store": "up", "bus": "up", "hooks": "up", "upstreams": "up"}
    assert (await app.http.get("/readyz")).json() == ready
