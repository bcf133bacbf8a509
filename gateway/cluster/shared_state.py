"""The state of this node for the others, in Redis hashes that all nodes share.

A hash is about one subject, such as a user, and each node has its own fields in it. This module also keeps this node's
fields in memory. It writes them in the background: many changes in one round trip, and only the newest value of each.
The same script call returns the other nodes' fields. So, of several nodes, one learns that it is the first or the last.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Self, TypeAlias

from gateway.bus.redis_commands import Command, RedisCommands, RedisUnavailable
from gateway.cluster.nodes import ID_LENGTH, Nodes
from gateway.core import faults
from gateway.core.faults import contained
from gateway.core.periodic import Periodic

BATCH = 200
"""Hashes to write in one round trip: some milliseconds of work."""

Subject = tuple[str, str]
"""The subject of a hash: its kind and its name."""

# Sets the given fields, removes those without a value, and returns the hash as it was before.
_UPDATE = """
local before = redis.call('HGETALL', KEYS[1])
for i = 1, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[1], ARGV[i])
  else
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
return before
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A node's field about a subject."""

    node: str
    name: str
    value: str


Waiting: TypeAlias = asyncio.Future[tuple[Entry, ...]]
"""The future of the other nodes' fields about a subject."""


@dataclass(slots=True)
class Change:
    """A change of this node's fields about a subject, with their values before, and the fields of the other nodes."""

    subject: Subject
    before: dict[str, str | None] = field(default_factory=dict)
    after: dict[str, str | None] = field(default_factory=dict)
    remote: tuple[Entry, ...] = ()
    is_written: bool = False
    """Whether Redis has it, and has said what the other nodes have."""


class SharedState:
    """Writes this node's state, and reads that of the others."""

    def __init__(self, redis: RedisCommands, nodes: Nodes, prefix: str) -> None:
        self._redis = redis
        self._nodes = nodes
        self._prefix = prefix
        self._changed: Callable[[Change], None] = _nothing
        self._local: dict[Subject, dict[str, str]] = {}
        self._pending: dict[Subject, Change] = {}
        self._waiting: dict[Subject, Waiting] = {}
        self._listed: set[Subject] = set()
        self._node = ""
        self._writing = 0
        self._writes = Periodic("shared_state", None, self._write_all)

    @asynccontextmanager
    async def running(self, changed: Callable[[Change], None]) -> AsyncIterator[Self]:
        """Write changes while the context lasts, and the rest at its end.

        `changed` is called with each change after its write, or at once while Redis is down.
        """
        self._changed = changed
        try:
            async with self._writes:
                yield self
        finally:
            while self._pending and self._redis.is_up:
                await self._write_some()

    @property
    def unwritten(self) -> int:
        """Return the number of subjects with a change that is not written yet."""
        return len(self._pending) + self._writing

    def local(self, subject: Subject) -> dict[str, str]:
        """Return this node's fields about a subject."""
        return self._local.get(subject, {})

    def set(self, subject: Subject, name: str, value: str | None, *, quietly: bool = False) -> None:
        """Set a field about a subject, or remove it with None. If `quietly`, the change is not reported."""
        said = self._local.setdefault(subject, {})
        change = self._pending.setdefault(subject, Change(subject))
        change.before.setdefault(name, said.get(name))
        if value is not None:
            said[name] = value
        else:
            said.pop(name, None)
            if not said:
                del self._local[subject]
        if quietly:
            change.before[name] = value
        self._writes.wake()

    def remote(self, subject: Subject) -> Waiting:
        """Return a future of the other nodes' fields about a subject, as of this node's last write.

        Raise `RedisUnavailable` while Redis is down.
        """
        if not self._redis.is_up:
            raise RedisUnavailable("Redis is down")
        waiting = self._waiting.get(subject)
        if waiting is None:
            waiting = self._waiting[subject] = asyncio.get_running_loop().create_future()
            self._pending.setdefault(subject, Change(subject))
            self._writes.wake()
        return asyncio.shield(waiting)  # several callers may wait for it

    async def read_remote(self, subjects: Iterable[Subject]) -> list[tuple[Entry, ...]]:
        """Return the other nodes' fields about each subject, or raise `RedisUnavailable`."""
        answers = await self._redis.execute([("HGETALL", self._key(subject)) for subject in subjects])
        return [self.alive_entries(answer) for answer in answers]

    def republish(self, node: str, told_gone: bool) -> None:
        """Write the whole state again under a new name. It is a change if others have reported this node as gone."""
        self._node = node
        self._listed.clear()
        for subject, said in self._local.items():
            change = self._pending.setdefault(subject, Change(subject))
            for name, value in said.items():
                if told_gone:
                    change.before[name] = None
                else:
                    change.before.setdefault(name, value)
        self._writes.wake()

    def alive_entries(self, answer: object) -> tuple[Entry, ...]:
        """Return the entries in the answer to HGETALL, without those of this node and of dead nodes."""
        return tuple(entry for entry in entries(answer) if self._nodes.is_alive(entry.node))

    async def _write_all(self) -> None:
        while self._pending:
            with contained("shared_state"):
                await self._write_some()

    async def _write_some(self) -> None:
        # First the subjects that a caller waits for: after a failure, everything else is written as well.
        due = chain(tuple(self._waiting), self._pending)
        some = [self._pending.pop(subject) for subject in tuple(islice(dict.fromkeys(due), BATCH))]
        waiting = {change.subject: self._waiting.pop(change.subject, None) for change in some}
        for change in some:
            said = self.local(change.subject)
            change.after = {name: said.get(name) for name in change.before}
        self._writing = len(some)
        try:
            with suppress(RedisUnavailable):
                await self._write_or_split(some)
                _answer(waiting, some)
        finally:
            self._writing = 0
            _disappoint(waiting)
        for change in some:
            with contained("shared_state"):
                self._changed(change)

    async def _write_or_split(self, some: list[Change]) -> None:
        """Write changes. If that fails, write each on its own, so that one failing change stops no other."""
        try:
            await self._write(some)
        except RedisUnavailable:
            raise
        except Exception as fault:
            if len(some) == 1:
                faults.record("shared_state", fault)
                return
            for change in some:
                await self._write_or_split([change])

    async def _write(self, some: list[Change]) -> None:
        subjects = [change.subject for change in some]
        new = [subject for subject in subjects if subject in self._local and subject not in self._listed]
        gone = [subject for subject in subjects if subject not in self._local and subject in self._listed]
        node, index = self._node, index_key(self._prefix, self._node)
        # The index leads to a dead node's state, so a subject enters it first and leaves it last.
        commands: list[Command] = [("SADD", index, *map(_member, new))] if new else []
        commands += [self._update(change, node) for change in some]
        if gone:
            commands.append(("SREM", index, *map(_member, gone)))
        answers = await self._redis.execute(commands)
        for change, answer in zip(some, answers[1 if new else 0 :], strict=False):
            change.remote, change.is_written = self.alive_entries(answer), True
        if node == self._node:
            self._listed.update(new)
            self._listed.difference_update(gone)

    def _update(self, change: Change, node: str) -> Command:
        fields = [part for name, value in change.after.items() for part in (f"{node} {name}", value or "")]
        return ("EVAL", _UPDATE, 1, self._key(change.subject), *fields)

    def _key(self, subject: Subject) -> str:
        return hash_key(self._prefix, subject)


def _answer(waiting: dict[Subject, Waiting | None], changes: list[Change]) -> None:
    for change in changes:
        future = waiting[change.subject]
        if future is not None and not future.done():
            future.set_result(change.remote)


def _disappoint(waiting: dict[Subject, Waiting | None]) -> None:
    for future in waiting.values():
        if future is not None and not future.done():
            future.set_exception(RedisUnavailable("Redis is down"))
            future.exception()  # the waiting task may be gone


def hash_key(prefix: str, subject: Subject) -> str:
    """Return the key of the hash about a subject."""
    return f"{prefix}:{subject[0]}:{subject[1]}"


def index_key(prefix: str, node: str) -> str:
    """Return the key of the set of a node's subjects."""
    return f"{prefix}:said-by:{node}"


def entries(answer: object) -> list[Entry]:
    """Return the entries in the answer to HGETALL, without those that no gateway has written."""
    if isinstance(answer, dict):
        answer = [part for pair in answer.items() for part in pair]
    if not isinstance(answer, list):
        return []
    texts = [part.decode(errors="replace") if isinstance(part, bytes) else str(part) for part in answer]
    pairs = zip(texts[::2], texts[1::2], strict=False)
    return [
        Entry(name[:ID_LENGTH], name[ID_LENGTH + 1 :], value)
        for name, value in pairs
        if name[ID_LENGTH : ID_LENGTH + 1] == " "
    ]


def subject_of(member: bytes) -> Subject:
    """Return the subject for a member of a node's index."""
    kind, _, name = member.decode(errors="replace").partition(" ")
    return kind, name


def _member(subject: Subject) -> str:
    return f"{subject[0]} {subject[1]}"


def _nothing(_change: Change) -> None:
    """Ignore the change."""
