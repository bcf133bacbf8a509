"""The rules of a room: the tables, without a bus or a store."""

import asyncio
from typing import cast

import pytest

from gateway.bus.base import Logged, MemberJoined, MemberLeft, RoomEnded, RoomEvent, ToRoom
from gateway.connections.registry import Connection
from gateway.rooms.room import Loading, Order, Room, ends_membership, is_news
from gateway.rooms.window import Window
from gateway.store.rooms import RoomPosition
from gateway.transport.frames import text_frame

FRAME = text_frame(b'{"type":"x","data":1}')
AT = RoomPosition("lobby", "now", offset=7, arrivals=5, departures=3)


class Listener:
    """All that the rules know of a connection."""

    user_id = "me"


@pytest.mark.parametrize(
    ("event", "ends", "news"),
    [
        (Logged(FRAME, "lobby", "now", 7), False, False),
        (Logged(FRAME, "lobby", "now", 8), False, True),
        (Logged(FRAME, "lobby", "before", 8), False, False),
        (ToRoom(FRAME, "lobby"), False, True),
        (MemberJoined(FRAME, "lobby", "now", "other", 5), False, False),
        (MemberJoined(FRAME, "lobby", "now", "other", 6), False, True),
        (MemberJoined(FRAME, "lobby", "before", "other", 6), False, False),
        (MemberLeft(FRAME, "lobby", "now", "me", 3), False, False),
        (MemberLeft(FRAME, "lobby", "now", "me", 4), True, False),
        (MemberLeft(FRAME, "lobby", "before", "me", 4), False, False),
        (MemberLeft(FRAME, "lobby", "now", "other", 3), False, False),
        (MemberLeft(FRAME, "lobby", "now", "other", 4), False, True),
        (MemberLeft(FRAME, "lobby", "before", "other", 4), False, False),
        (RoomEnded(FRAME, "lobby", "now"), True, True),
        (RoomEnded(FRAME, "lobby", "before"), False, False),
    ],
)
def test_an_event_ends_a_membership_or_is_news_to_it(event: RoomEvent, ends: bool, news: bool) -> None:
    listener = cast("Connection", Listener())
    assert (ends_membership(event, listener, AT), is_news(event, listener, AT)) == (ends, news)


@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize(
    ("epoch", "offset", "order"),
    [
        ("now", 6, Order.OLD),
        ("now", 7, Order.OLD),
        ("now", 8, Order.NEXT),
        ("now", 9, Order.AFTER_A_GAP),
        ("before", 8, Order.AFTER_A_GAP),
        ("before", 1, Order.AFTER_A_GAP),
    ],
)
async def test_where_an_event_stands_in_the_log(epoch: str, offset: int, order: Order, reads: bool) -> None:
    event = Logged(FRAME, "lobby", epoch, offset)
    room = Room("lobby", lambda _: ())
    assert room.order_of(event) is Order.UNKNOWN
    room.start_at(AT)
    if reads:
        room.closing = asyncio.create_task(asyncio.sleep(0))
        order = Order.AFTER_A_GAP if order is Order.NEXT else order
    assert room.order_of(event) is order


@pytest.mark.parametrize(
    ("epoch", "top", "stays"),
    [("now", 6, False), ("now", 7, True), ("now", 8, True), ("before", 7, False)],
)
async def test_a_window_that_ends_before_the_first_position_is_forgotten(epoch: str, top: int, stays: bool) -> None:
    room = Room("lobby", lambda _: ())
    room.window = Window(epoch, top, is_whole=True)
    room.start_at(AT)
    assert (room.window is not None) is stays


async def test_a_window_that_is_read_around_the_first_position_is_not_used() -> None:
    room = Room("lobby", lambda _: ())
    room.loading = loading = Loading()
    room.start_at(AT)
    assert loading.is_void
