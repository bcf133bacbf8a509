"""docs/routes.md is true: the frames of a worker go as printed."""

import json
import re
from pathlib import Path
from typing import Any

from tests.conftest import OwnGateway
from tests.gateway.upstream.routing import routing, table
from tests.support.workers import worker

PAGE = (Path(__file__).parents[4] / "docs/routes.md").read_text()
VARIES = {"connection", "server_time", "message_id", "traceparent"}


def printed() -> list[dict[str, Any]]:
    """The frames of the page."""
    (block,) = re.findall(r"^```json\n(.*?)^```$", PAGE.partition("\n## Workers\n")[2], re.MULTILINE | re.DOTALL)[:1]
    return [json.loads(line) for line in block.splitlines()]


def fixed(value: Any) -> Any:
    """A frame without what differs each time."""
    if isinstance(value, dict):
        return {name: None if name in VARIES else fixed(item) for name, item in value.items()}
    return value


async def test_the_frames_of_the_page_go_as_printed(own_gateway: OwnGateway, tmp_path: Path) -> None:
    welcome, serve, served, message, chunk, answer = printed()
    route = table("orders.*", None, scope="orders:write")
    async with routing(own_gateway, tmp_path, route, scopes=["orders:write"]) as app, worker(app.gateway) as orders:
        assert fixed({"type": "welcome", "data": orders.welcome}) == fixed(welcome)
        await orders.send(serve)
        assert await orders.next() == served
        async with app.connect_with(await app.gateway.token("carol", "orders:write")) as carol:
            asked = message["data"]
            await carol.send({"type": asked["type"], "id": asked["id"], "data": asked["data"]})
            got = await orders.next()
            assert fixed(got) == fixed(message | {"id": got["id"]})
            for part in (chunk, answer):
                await orders.send(part | {"id": got["id"]})
            assert await carol.expect("reply", id=asked["id"]) == {"text": chunk["data"], **answer["data"]}


def test_each_frame_has_a_line_in_the_table() -> None:
    table_of_frames = PAGE.partition("\n## Workers\n")[2].partition("\n## ")[0]
    lines = [line for line in table_of_frames.splitlines() if line.startswith("| `")]
    named = set(re.findall(r"`([a-z.]+)`", " ".join(line.split("|")[1] for line in lines)))
    assert named >= {frame["type"] for frame in printed()} | {"ping", "route.cancel", "error", "bye"}
