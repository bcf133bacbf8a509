"""A live gateway that streams a story, with a clock that a test may move."""

from collections.abc import AsyncIterator, Iterator

import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from gateway.testing import Gateway, MovableClock, running_gateway, settings_for_tests
from handlers.base import MsgHandler
from handlers.registry import HANDLERS
from handlers.streaming import Chunk, Reply
from schemas.base import Wire

MOST_WORDS = 10_000


class Story(Wire):
    """Ask for a story about something."""

    about: str


class Told(Wire):
    """The story has ended."""

    words: int


class StoryHandler(MsgHandler[Story, Told]):
    """Streams a story of five words, or an endless one about Scheherazade."""

    schema = Story

    async def handle(self, data: Story) -> AsyncIterator[Chunk]:
        """Yield the words."""
        for _ in range(MOST_WORDS if data.about == "Scheherazade" else 1):
            for word in ("Once ", "upon ", "a ", "time ", data.about):
                yield word
        yield Reply(Told(words=5))


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    settings = settings_for_tests(tmp_path_factory.mktemp("live"), max_connections_per_user=200)
    with running_gateway(settings, registry={**HANDLERS, "story.tell": StoryHandler}, extend=with_a_clock) as gateway:
        yield gateway


def with_a_clock(app: FastAPI) -> None:
    """Let a test move the gateway's clock."""

    async def move(request: Request) -> Response:
        clock = request.state.gateway.clock
        assert isinstance(clock, MovableClock)
        clock.ahead = float(request.query_params["seconds"])
        return Response(status_code=204)

    app.add_route("/test/clock", move, methods=["POST"])
