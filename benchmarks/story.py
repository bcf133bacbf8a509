"""What users have done in rooms: their requests, all acknowledged changes, and what the logs hold in the end."""

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from sqlalchemy import select

from benchmarks.rig import Asker, Frame
from gateway.store.engine import Database
from gateway.store.tables import messages, rooms, users

PAGE = 100
REPEAT_SECONDS, PAUSE_SECONDS = 30.0, 0.1


@dataclass
class Wish:
    """A request of a user: a message, an edit or a deletion."""

    kind: str
    room: str
    text: str | None = None
    client_id: str | None = None
    message_id: str | None = None

    @property
    def offset(self) -> int:
        """Return the offset of the message that it is about."""
        return int(str(self.message_id).rpartition(".")[2])

    def data(self) -> Frame:
        """Return it as the data of a message."""
        return {name: value for name, value in vars(self).items() if name != "kind" and value is not None}


@dataclass
class Growth(Wish):
    """Several requests of a user: pieces for the end of one message, where its text is `text` before them."""

    pieces: Sequence[str] = ()
    acknowledged: int = 0
    """How many of the pieces are known to be stored."""
    changes: set[int] = field(default_factory=set)
    """The offsets that they have taken."""

    def text_after(self, count: int) -> str:
        """Return the text after so many pieces."""
        return (self.text or "") + "".join(self.pieces[:count])


@dataclass(frozen=True)
class Said:
    """A message in the form that a room's log should have."""

    sender: str
    client_id: str | None
    text: str | None
    changed: int
    deleted: bool = False


Logs = dict[str, dict[int, Said]]
"""The messages of each room, by offset."""


@dataclass
class Story:
    """All acknowledged changes, and the faults seen on the way."""

    logs: Logs
    taken: dict[str, Counter[int]]
    """The offsets that acknowledged changes have taken, by room."""
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    unsure: Counter[str] = field(default_factory=Counter)
    """How many offsets requests without an answer may have taken that nothing names, by room."""
    late: set[tuple[str, int]] = field(default_factory=set)
    """The room and the offset of messages that an edit may change once more, since its first try may come late."""

    @classmethod
    def of(cls, names: Sequence[str]) -> Self:
        """Return the story of rooms in which nothing was said yet."""
        return cls(logs={name: {} for name in names}, taken={name: Counter() for name in names})

    def note(self, user: str, wish: Wish, message: Frame) -> None:
        """Record that a request was acknowledged, with this message as its outcome."""
        self.counts[wish.kind] += 1
        log, offset, changed = self.logs[wish.room], message["offset"], message["changed"]
        self.taken[wish.room][changed] += 1
        if wish.kind == "chat.send":
            log[offset] = Said(user, wish.client_id, wish.text, changed)
        else:
            log[offset] = replace(log[offset], text=wish.text, changed=changed, deleted=wish.kind == "chat.delete")
        if (message["sender"], message.get("text")) != (user, wish.text):
            self.wrong.append(f"{user}'s {wish} was answered with {message}")

    def note_pieces(self, wish: Growth, count: int, changes: set[int]) -> None:
        """Record that so many pieces are known to be stored, with changes that have these offsets."""
        self.counts[wish.kind] += count - wish.acknowledged
        self.taken[wish.room].update(changes - wish.changes)
        wish.changes |= changes
        wish.acknowledged = count
        log = self.logs[wish.room]
        log[wish.offset] = replace(log[wish.offset], text=wish.text_after(count), changed=max(wish.changes))

    def count_offsets(self, room: str, top: int) -> None:
        """Count the offsets of a log that no change, or more than one, has taken."""
        taken = self.taken[room]
        holes = sum(1 for offset in range(1, top + 1) if offset not in taken)
        self.counts["holes"] += max(0, holes - self.unsure[room])
        self.counts["doubles"] += sum(times - 1 for times in taken.values())
        if not 0 <= top - max(taken, default=0) <= self.unsure[room]:
            self.wrong.append(f"{room}: the log ends at {top}, and the last change took {max(taken, default=0)}")


def compare(story: Story, room: str, expected: dict[int, Said], found: dict[int, Said]) -> None:
    """Count messages that are missing, that differ from what was acknowledged, and that no user was told of."""
    for offset, said in expected.items():
        if not _is_kept(said, found.get(offset), late=(room, offset) in story.late):
            story.counts["lost"] += 1
            story.wrong.append(f"{room} {offset}: acknowledged was {said}, found is {found.get(offset)}")
    story.counts["unasked"] += len(found.keys() - expected.keys())


def _is_kept(said: Said, found: Said | None, *, late: bool) -> bool:
    """Return whether what was acknowledged is there, perhaps once more by the late first try of the same edit."""
    if found is None or not late:
        return found == said
    return found.changed >= said.changed and replace(found, changed=said.changed) == said


async def reply_to(asker: Asker, type: str, **data: object) -> Frame:
    """Return the data of the reply to a message. Repeat it while it may; then raise `RuntimeError`."""
    until = asyncio.get_running_loop().time() + REPEAT_SECONDS
    while (answer := await asker.ask(type, **data))["type"] == "error":
        if not answer["retryable"] or asyncio.get_running_loop().time() > until:
            raise RuntimeError(f"{type} is refused: {answer}")
        await asyncio.sleep(PAUSE_SECONDS)
    return dict(answer["data"])


async def read_log(reader: Asker, room: str) -> dict[int, Said]:
    """Read a whole log through the protocol."""
    found: dict[int, Said] = {}
    more = True
    while more:
        data = {"room": room, "after": max(found, default=0), "limit": PAGE}
        page = await reply_to(reader, "chat.history", **data)
        more = page["has_more"]
        for each in page["messages"]:
            deleted = each.get("deleted", False)
            found[each["offset"]] = Said(each["sender"], None, each.get("text"), each["changed"], deleted)
    return found


@dataclass(frozen=True)
class Tables:
    """What the tables hold of some rooms."""

    logs: Logs
    ids: Counter[tuple[str, str, str]]
    """How many messages have a room, a sender and a `client_id`."""
    tops: dict[str, int]
    """The ends of the logs."""


async def read_tables(database: Database, names: Collection[str]) -> Tables:
    """Read all messages of some rooms."""
    query = select(messages, rooms.c.name.label("room"), users.c.name.label("sender")).where(
        rooms.c.id == messages.c.room_id, users.c.id == messages.c.sender_id, rooms.c.name.in_(names)
    )
    logs: Logs = {room: {} for room in names}
    ids: Counter[tuple[str, str, str]] = Counter()
    positions = select(rooms.c.name, rooms.c.offset)
    rows, ends = await database.query(lambda at: (at.execute(query).all(), at.execute(positions).all()))
    for row in rows:
        ids[row.room, row.sender, row.client_id] += 1
        logs[row.room][row.offset] = Said(row.sender, row.client_id, row.text, row.changed, row.deleted_at is not None)
    return Tables(logs, ids, {row.name: row.offset for row in ends})


async def compare_database(database: Database, story: Story) -> None:
    """Compare the tables with the acknowledged changes."""
    found = await read_tables(database, story.logs)
    story.counts["doubles"] += sum(times - 1 for times in found.ids.values())
    for room, log in story.logs.items():
        compare(story, room, log, found.logs[room])
        if not 0 <= found.tops[room] - max(story.taken[room], default=0) <= story.unsure[room]:
            story.wrong.append(f"{room}: the table says that the log ends at {found.tops[room]}")
