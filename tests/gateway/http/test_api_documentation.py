"""The pages of the API's documentation: without other hosts, under a strict policy, and only in development."""

import re

import pytest

from tests.support.client import App


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_a_page_and_all_that_it_loads_come_from_the_gateway(app: App, path: str) -> None:
    page = await app.http.get(path)
    assert page.status_code == 200
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(loaded) >= 2
    assert not [each for each in loaded if each.startswith(("http", "//", "/"))]  # below a proxy's path too
    for each in loaded:
        if not each.startswith("data:"):
            assert (await app.http.get(f"/{each}")).status_code == 200


async def test_nothing_else_of_that_folder_can_be_had(app: App) -> None:
    for name in ("favicon.png", "..%2f__init__.py", "../core.py", "%2e%2e/core.py", "swagger-ui.css/"):
        assert (await app.http.get(f"/docs/{name}")).status_code in {404, 422}


async def test_they_are_not_in_their_own_description(app: App) -> None:
    assert not [path for path in (await app.http.get("/openapi.json")).json()["paths"] if path.startswith("/docs")]
