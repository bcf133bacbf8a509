"""Makes the replies to joins, from the messages' JSON."""

from dataclasses import dataclass

import orjson

from gateway.chat.verbs.pages import MAX_PAGE_BYTES
from gateway.rooms.history_reader import MAX_MISSED
from gateway.rooms.window import Page, Window
from gateway.store.rooms import RoomPosition
from gateway.transport.encoded import encoded
from schemas.messages.rooms import JoinReply, Position, Reason

NEWEST_MESSAGES = 50
"""The most messages in a join reply without `since`."""


@dataclass(frozen=True, slots=True)
class Joined:
    """What a join replies, and the room's position at that time."""

    position: RoomPosition
    reply: JoinReply


def remembered_reply(
    window: Window, at: RoomPosition, viewer_id: str, since: Position | None, limit: int | None
) -> Joined | None:
    """Return the reply to a join from a window, or None if only the store can answer it."""
    newest = NEWEST_MESSAGES if limit is None else limit
    if since is None:
        page = window.newest(newest, viewer_id)
        return None if page is None or len(page.text) > MAX_PAGE_BYTES else newest_reply(at, page)
    missed = window.since(since.offset, viewer_id) if since.epoch == at.epoch else None
    if missed is None:
        return None
    if missed.count <= (MAX_MISSED if limit is None else limit) and len(missed.text) <= MAX_PAGE_BYTES:
        return recovered_reply(at, missed)
    page = window.newest(newest, viewer_id)
    return None if page is None or len(page.text) > MAX_PAGE_BYTES else unrecovered_reply(at, "too_many", page)


def newest_reply(at: RoomPosition, messages: Page) -> Joined:
    """Return the reply to a join without a position."""
    return Joined(at, _reply(at, b'"messages":[%b]' % messages.text))


def recovered_reply(at: RoomPosition, events: Page) -> Joined:
    """Return the reply to a client that gets all that it has missed."""
    return Joined(at, _reply(at, b'"recovered":true,"events":[%b]' % events.text))


def unrecovered_reply(at: RoomPosition, reason: Reason, messages: Page) -> Joined:
    """Return the reply to a client that cannot resume."""
    log = b'"recovered":false,"reason":"%b","messages":[%b]' % (reason.encode(), messages.text)
    return Joined(at, _reply(at, log))


def _reply(at: RoomPosition, log: bytes) -> JoinReply:
    head = (orjson.dumps(at.name), at.epoch.encode(), at.offset, at.members)
    return encoded(JoinReply, b'{"room":%b,"epoch":"%b","offset":%d,"members":%d,%b}' % (*head, log))
