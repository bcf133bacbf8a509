"""The type of a handler's reply follows from its class, as deep as its bases go."""

from collections.abc import AsyncIterator
from typing import Any, Generic, TypeVar

import pytest
from pydantic import BaseModel

from handlers.base import MsgHandler
from handlers.registry import HANDLERS
from handlers.reply_types import reply_type
from handlers.streaming import Chunk
from schemas.base import Empty, Wire
from schemas.messages.chat import SendReply

Item = TypeVar("Item")
Reply = TypeVar("Reply", bound=BaseModel)


class Vote(Wire):
    """A vote."""


class Page(BaseModel, Generic[Item]):
    """A page of anything."""

    items: list[Item]


class Direct(MsgHandler[Empty, Vote]):
    schema = Empty

    async def handle(self, data: Empty) -> Vote:
        return Vote()


class WithState(MsgHandler[Empty, Vote, int]):
    """Names the state too."""


class Below(Direct):
    """Says nothing itself."""


class Mixed(Below, Generic[Item]):
    """Has another generic base beside it."""


class Lists(MsgHandler[Empty, Page[Reply], int], Generic[Reply]):
    """Leaves the item of its page open."""


class ListsVotes(Lists[Vote]):
    """Fills it in."""


class BelowListsVotes(ListsVotes):
    """Is one deeper."""


class Passes(MsgHandler[Empty, Reply], Generic[Reply]):
    """Leaves the reply open."""


class PassesVotes(Passes[Vote]):
    """Fills it in."""


class Bare(MsgHandler):  # type: ignore[type-arg]
    schema = Empty

    async def handle(self, data: Empty) -> Vote:
        return Vote()


class Silent(MsgHandler):  # type: ignore[type-arg]
    schema = Empty

    async def handle(self, data: "Nowhere") -> Any:  # type: ignore[name-defined]  # noqa: F821 - as an error of its author
        return data


class Either(MsgHandler[Empty, Vote | Empty]):
    """Replies with one of two."""


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (HANDLERS["chat.send"], SendReply),
        (Direct, Vote),
        (WithState, Vote),
        (Below, Vote),
        (Mixed, Vote),
        (ListsVotes, Page[Vote]),
        (BelowListsVotes, Page[Vote]),
        (PassesVotes, Vote),
        (Bare, Vote),
        (Either, Vote | Empty),
        (Lists, None),
        (Passes, None),
        (Silent, None),
    ],
)
def test_the_type_of_a_reply_is_found(handler: type[MsgHandler[Any, Any]], expected: Any) -> None:
    assert reply_type(handler) == expected


def test_each_built_in_message_has_one() -> None:
    assert [kind for kind, handler in HANDLERS.items() if reply_type(handler) is None] == []


def test_a_stream_has_the_type_of_its_closing_reply_or_none_that_is_known() -> None:
    class Counting(MsgHandler[Empty, Empty]):
        schema = Empty

        async def handle(self, data: Empty) -> AsyncIterator[Chunk]:
            yield 1

    class Untold(MsgHandler):  # type: ignore[type-arg]
        schema = Empty

        async def handle(self, data: Empty) -> AsyncIterator[Chunk]:
            yield 1

    assert reply_type(Counting) is Empty
    assert reply_type(Untold) is None
