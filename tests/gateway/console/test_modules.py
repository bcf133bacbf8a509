"""The modules of the page at `/`: each is served, and none but the client opens a connection."""

import re

from gateway.http.console import FILES, MODULES
from tests.support.client import App


def test_only_the_client_opens_a_connection() -> None:
    assert {path.name for path in FILES.glob("*.js")} == {*MODULES}
    opening = [name for name in MODULES if re.search("WebSocket|EventSource", _text(name))]
    assert opening == []
    assert 'from "./client/gateway-client.js"' in _text("console.js")


async def test_all_modules_and_what_they_import_are_served(app: App) -> None:
    imported = {found for name in MODULES for found in re.findall(r' from "\./(.+)"', _text(name))}
    for name in {*MODULES, *imported}:
        answer = await app.http.get(f"/{name}")
        assert answer.status_code == 200, name
        assert answer.headers["content-type"].startswith("text/javascript")


def _text(name: str) -> str:
    return (FILES / name).read_text(encoding="utf-8")
