"""The gateways of a process share their routes, and each keeps what its application has changed."""

from pathlib import Path

from fastapi import FastAPI, HTTPException

from gateway.http.authentication import ticket_authentication
from gateway.testing import Gateway, StartGateway, running_gateway, settings_for_tests
from tests.support.client import App


async def test_an_overridden_dependency_counts_for_its_own_application_only(
    start_gateway: StartGateway, tmp_path: Path
) -> None:
    async def refuse() -> None:
        raise HTTPException(402, "pay first")

    def extend(app: FastAPI) -> None:
        app.dependency_overrides[ticket_authentication] = refuse

    async def asked(gateway: Gateway) -> int:
        async with App(gateway) as app:
            return (await app.http.post("/ws/ticket")).status_code

    changed = start_gateway(extend=extend)
    with running_gateway(settings_for_tests(tmp_path / "other")) as plain:
        assert [await asked(each) for each in (changed, plain, changed, plain)] == [402, 401, 402, 401]
