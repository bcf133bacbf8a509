"""Reports of a user's presence to rooms, for which this node asks the others first.

A report says how a user is over all nodes, and which custom state counts in the room. Where this node alone does not
know that, it reads what the others have written. Reports go out in their order, so that the last one is the newest.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from gateway.cluster.custom_states import ReadRemote, SharedCustomStates
from gateway.cluster.presence_fields import OnPresenceChange, PresenceState, places_of, presence_of, user_subject
from gateway.cluster.shared_state import Entry, SharedState
from gateway.core.faults import contained

BATCH = 100
"""Reports that share their questions."""


@dataclass(frozen=True, slots=True)
class Report:
    """A user's presence, to be reported to some rooms."""

    user: str
    rooms: frozenset[str] | None = None
    """Those of the rooms that the user hears which get the report. None stands for all."""
    state: PresenceState | None = None
    """The presence, or None if it must be read."""


class PresenceReports:
    """Reads what reports need, and passes them on in their order."""

    def __init__(
        self,
        shared_state: SharedState,
        custom: SharedCustomStates,
        read_remote: ReadRemote,
        notify: OnPresenceChange,
    ) -> None:
        self._shared_state = shared_state
        self._custom = custom
        self._read_remote = read_remote
        self._notify = notify
        self._waiting: list[Report] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def is_idle(self) -> bool:
        """Return whether all reports have been passed on."""
        return self._task is None

    def add(self, report: Report) -> None:
        """Pass a report on, after those before it."""
        self._waiting.append(report)
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._waiting:
                some, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                with contained("presence"):
                    await self._pass_on(some)
        finally:
            self._task = None

    async def _pass_on(self, reports: Sequence[Report]) -> None:
        users = list(dict.fromkeys(report.user for report in reports))
        about = [*map(user_subject, users), *map(places_of, users)]
        remote = dict(zip(about, await self._read_remote(about), strict=True))
        heard = {user: self._rooms_of(user, remote[places_of(user)]) for user in users}
        due = [
            (room, report)
            for report in reports
            for room in sorted(heard[report.user] if report.rooms is None else heard[report.user] & report.rooms)
        ]
        places = list(dict.fromkeys((room, report.user) for room, report in due))
        custom = await self._custom.read(places, self._read_remote)
        for room, report in due:
            state = report.state or self._state_of(report.user, remote[user_subject(report.user)])
            if state is not None:
                self._notify(room, report.user, state, custom.get((room, report.user)))

    def _state_of(self, user: str, remote: Collection[Entry]) -> PresenceState | None:
        return presence_of(remote, self._shared_state.local(user_subject(user)).get(""))

    def _rooms_of(self, user: str, remote: Collection[Entry]) -> set[str]:
        return {*self._shared_state.local(places_of(user)), *(entry.name for entry in remote)}
