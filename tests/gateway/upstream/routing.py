"""A gateway with routes to services of a test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from tests.conftest import OwnGateway
from tests.support.client import App
from tests.support.upstreams import SECRET


def table(pattern: str, url: str | None, **keys: Any) -> str:
    """The table of a route."""
    values = {"url": url, "secret": SECRET} if url else {"worker": True}
    lines = (f"{name} = {_toml(value)}" for name, value in (values | keys).items() if value is not None)
    return f'[routes."{pattern}"]\n' + "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return orjson.dumps(value).decode()


@asynccontextmanager
async def routing(
    own_gateway: OwnGateway, folder: Path, *tables: str, scopes: list[str] | None = None, **options: Any
) -> AsyncIterator[App]:
    """Start a gateway with these routes."""
    file = folder / "routes.toml"
    file.write_text(f"scopes = {_toml(scopes or [])}\n" + "".join(tables))
    async with App(own_gateway(routes=file, **options)) as app:
        yield app


def reload(app: App) -> Any:
    """Let the gateway read its routes again now."""
    return app.gateway.run(app.gateway.state.routes.reload())
