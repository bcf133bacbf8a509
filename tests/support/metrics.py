"""The gateway's metrics, in a form that a test can compare."""

from tests.support.client import App


async def metrics_of(app: App) -> dict[str, float]:
    """Return all metrics: the value of each, by its name and labels."""
    response = await app.http.get("/metrics")
    assert response.status_code == 200, response.text
    lines = [line for line in response.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
