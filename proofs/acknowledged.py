"""What the gateway has acknowledged to the clients of a load, and whether its store has it."""

from collections import defaultdict

from benchmarks.story import Said, Story, Tables, compare

UNSWEPT = 1000
"""How many messages beyond those that retention keeps a room may still have: more are forgotten here."""


class Acknowledged:
    """The acknowledged messages of each room. With `kept`, retention keeps so many of a room."""

    def __init__(self, kept: int | None = None) -> None:
        self._kept = kept
        self._logs: defaultdict[str, dict[int, Said]] = defaultdict(dict)
        self._tops: dict[str, int] = {}

    def add(self, room: str, offset: int, said: Said) -> None:
        """Note a message."""
        log = self._logs[room]
        log[offset] = said
        self._tops[room] = max(offset, self._tops.get(room, 0))
        if self._kept is not None and len(log) > self._kept + 2 * UNSWEPT:
            self._logs[room] = {each: log[each] for each in _newest(log, self._kept + UNSWEPT)}

    def compare(self, found: Tables) -> Story:
        """Return the faults: messages that are lost or changed, that come twice, or that no user sent."""
        story = Story.of(list(found.logs))
        story.counts["doubles"] = sum(times - 1 for times in found.ids.values())
        for room, log in found.logs.items():
            known = self._logs[room]
            must = set(known if self._kept is None else _newest(known, self._kept))
            expected = {offset: said for offset, said in known.items() if offset in must or offset in log}
            oldest = min(known, default=0) if self._kept is not None else 0
            compare(story, room, expected, {offset: said for offset, said in log.items() if offset >= oldest})
            if found.tops[room] != self._tops.get(room, 0):
                story.counts["lost"] += 1
                story.wrong.append(f"{room} ends at {found.tops[room]}, acknowledged was {self._tops.get(room, 0)}")
        return story


def _newest(log: dict[int, Said], count: int) -> list[int]:
    return sorted(log)[-count:]
