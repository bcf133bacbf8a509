"""Applies many changes to rooms in one transaction: to their messages, and to their memberships.

A transaction costs one sync of the disk, however large it is, so all simultaneous writers share one. Each change has
its own outcome. A refused change does not affect the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.rooms.batch import Batch, Change, Deferred
from gateway.rooms.membership_changes import MEMBERSHIP_CHANGES, MembershipChanges, RoomQuotas
from gateway.rooms.message_changes import MESSAGE_CHANGES, MessageChanges, StorageQuotas
from gateway.rooms.outgoing import OutgoingEvents
from gateway.store.prepared import Script
from handlers.errors import MessageError


@dataclass(frozen=True, slots=True)
class Limits:
    """What the settings allow."""

    storage: StorageQuotas = field(default_factory=StorageQuotas)
    rooms: RoomQuotas = field(default_factory=RoomQuotas)
    rooms_open: bool = True
    """Whether entering a room that does not exist makes it."""


NO_LIMITS = Limits()


def apply(
    changes: Sequence[Change[Any]], now: int, limits: Limits = NO_LIMITS, outgoing: OutgoingEvents | None = None
) -> Script[list[Any]]:
    """Apply changes in order, and return the outcome of each. Nothing is durable before the commit.

    The outcome is what the change results in, the `MessageError` of a refusal, or `Deferred`. Raise `QuotaExceeded` if
    another node has used up a user's quota meanwhile. Then no change is applied.
    """
    batch = Batch(now)
    messages = MessageChanges(batch, limits.storage)
    memberships = MembershipChanges(batch, limits.rooms, rooms_open=limits.rooms_open)
    of_messages = [change for change in changes if isinstance(change, MESSAGE_CHANGES)]
    of_members = [change for change in changes if isinstance(change, MEMBERSHIP_CHANGES)]
    yield from memberships.make_rooms(of_members)
    yield from batch.lock_rooms(change.room for change in changes)
    memberships.hide_made_rooms()
    yield from messages.read(of_messages)
    yield from memberships.lock_users(of_members, messages.user_ids(of_messages))
    yield from batch.read_roles(changes)
    yield from memberships.read(of_members)
    outcomes = [_outcome(messages, memberships, change) for change in changes]
    if of_members:
        yield from memberships.write()
    if of_messages:
        yield from messages.write()
    if outgoing is not None:
        yield from outgoing.store(outcomes, now)
    return outcomes


def _outcome(messages: MessageChanges, memberships: MembershipChanges, change: Change[Any]) -> Any:
    try:
        if isinstance(change, MESSAGE_CHANGES):
            return messages.apply(change)
        assert isinstance(change, MEMBERSHIP_CHANGES)  # noqa: S101 - there are no others
        return memberships.apply(change)
    except (MessageError, Deferred) as refused:
        return refused
