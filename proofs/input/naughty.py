"""The big list of naughty strings: each comes out of the gateway byte for byte as it went in.

Two nodes share a store and a Valkey. What one client says on the first node is heard on the second one, read there from
the history and by a client that resumes, and found in the export of the operator and in the events for other services.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.rig import Person, StoreKind, database_for, populate, started, store_url, temporary_folder
from proofs.bar import Bar, Report, Scale
from proofs.input.talker import Talker, talking
from proofs.keys import add_key
from proofs.logs import wrong_lines
from proofs.server import Server
from tests.support.receivers import Receiver, running_receiver
from tests.support.valkey import running_valkey
from tests.support.waiting import until

DATA = Path(__file__).parent / "data" / "naughty_strings.json"

OK, WRONG = 20000, 42200
MAX_TITLE, MAX_CLIENT_ID, MAX_STATE_BYTES = 200, 64, 900
PAGE = 100
FEWER = 5
AT_ONCE = 50
WAIT_SECONDS = 60

NEVER = {
    "a NUL": ("a\0b", 40000),
    "half a pair": ("\ud83d", 40000),
    "nothing": ("", WRONG),
    "too much": ("x" * 4001, WRONG),
}
"""Texts that the protocol refuses, and the status of the answer."""

LIMITS = {
    "GATEWAY_SIGNAL_RATE": "0",
    "GATEWAY_MAX_PROTOCOL_ERRORS": "0",
    "GATEWAY_ROUTES": "../routes.toml",
}


def naughty_strings() -> list[str]:
    """Return all of them."""
    strings: list[str] = json.loads(DATA.read_text(encoding="utf-8"))
    return strings


@dataclass
class Trips:
    """How many strings came back the same, by the way that they took."""

    same: dict[str, int] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)

    def compare(self, way: str, sent: Sequence[Any], got: Sequence[Any]) -> None:
        """Compare what came out with what went in."""
        self.same[way] = sum(left == right for left, right in zip(sent, got, strict=False))
        if len(sent) != len(got):
            self.changed.append(f"{way}: {len(got)} of {len(sent)} came")
        self.changed += [
            f"{way}: {left!r} became {right!r}"[:120] for left, right in zip(sent, got, strict=False) if left != right
        ]

    def expect(self, way: str, fits: bool, words: object) -> None:
        """Note an answer that is another than the protocol's."""
        if not fits:
            self.changed.append(f"{way}: {words!r}"[:160])


async def prove_naughty(scale: Scale, report: Report) -> list[Bar]:
    """Send all strings all ways, on both kinds of store. The short form sends a fifth of them on the second kind."""
    bars = []
    for kind in StoreKind:
        strings = naughty_strings()
        if scale is Scale.SHORT and kind is StoreKind.POSTGRES:
            strings = strings[::FEWER]
        trips, fault = await _on(kind, strings)
        total, ways = sum(trips.same.values()), len(trips.same)
        words = "".join(f"; {each}" for each in trips.changed[:3])
        found = f"{len(strings)} strings, {ways} ways, {total:,} the same, {len(trips.changed)} wrong{words}"
        report(f"naughty strings, {kind}: {found}")
        bars += [Bar(f"naughty strings on {kind}, through Valkey", "0 changed", found, not trips.changed), fault]
    return bars


async def _on(kind: StoreKind, strings: Sequence[str]) -> tuple[Trips, Bar]:
    trips = Trips()
    alice, bob = Person("alice"), Person("bob")
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        url = stack.enter_context(store_url(kind, folder))
        valkey = stack.enter_context(running_valkey())
        receiver = await stack.enter_async_context(running_receiver())
        (folder / "routes.toml").write_text(_routes(receiver), encoding="utf-8")
        database = database_for(url)
        await populate(database, [alice, bob], {"chat": [alice, bob], "things": [alice, bob], "hook": [alice, bob]})
        keys = await add_key(database, "poet", "api:publish", "api:rooms"), await add_key(database, "h", hook_of="hook")
        await database.close()
        nodes = [await stack.enter_async_context(_node(folder, number, url, valkey.url)) for number in (1, 2)]
        speaker = await stack.enter_async_context(talking(nodes[0].port, alice.token))
        hearer = await stack.enter_async_context(talking(nodes[1].port, bob.token))
        for talker in (speaker, hearer):
            if talker is speaker:
                await talker.ask("room.create", room="titled")
            for room in ("chat", "things", "hook", "titled"):
                await talker.ask("room.join", room=room)
        http = await stack.enter_async_context(httpx2.AsyncClient(base_url=f"http://127.0.0.1:{nodes[0].port}"))
        ways = Ways(trips, strings, speaker, hearer, http, receiver)
        await ways.all_of(keys)
        trips.compare("the export of a room", ways.texts, await _exported(nodes[0]))
        faults = [wrong_lines("", node.log).passed for node in nodes]
    return trips, Bar(f"logs of both nodes on {kind} without a fault", "2", str(sum(faults)), all(faults))


def _routes(receiver: Receiver) -> str:
    keys = {"url": receiver.url, "secret": receiver.secret, "types": ["message.stored"], "rooms": ["chat"]}
    return "\n".join(["[hooks.push]", *(f"{name} = {json.dumps(value)}" for name, value in keys.items())])


@asynccontextmanager
async def _node(folder: Path, number: int, url: str, bus: str) -> AsyncIterator[Server]:
    own = folder / f"node-{number}"
    own.mkdir()
    server = Server(own, url, GATEWAY_BUS_URL=bus, **LIMITS)
    async with server.running():
        yield server


async def _exported(node: Server) -> list[Any]:
    """Return the texts of a room as `gateway rooms export` writes them."""
    file = node.folder / "room.jsonl"
    with file.open("wb") as output:
        process = started("rooms", "export", "chat", cwd=node.folder, env=node.environment, stdout=output)
        if await asyncio.to_thread(process.wait, WAIT_SECONDS):
            return []
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
    return [line["data"]["text"] for line in lines if line["type"] == "message"]


class Ways:
    """The ways through the gateway."""

    def __init__(
        self,
        trips: Trips,
        strings: Sequence[str],
        speaker: Talker,
        hearer: Talker,
        http: httpx2.AsyncClient,
        receiver: Receiver,
    ) -> None:
        self._trips = trips
        self._speaker = speaker
        self._hearer = hearer
        self._http = http
        self._receiver = receiver
        self._strings = strings
        self.texts = [each for each in self._strings if each]
        """Without the empty one, which is no text of a message."""

    async def all_of(self, keys: tuple[str, str]) -> None:
        """Take all ways."""
        await self.refused()
        await self.texts_of_messages()
        await self.bodies()
        await self.small_things()
        await self.services(*keys)
        await self.passwords()

    async def refused(self) -> None:
        """Send what the protocol refuses: each gets a status, and is stored nowhere."""
        for name, (text, status) in NEVER.items():
            message = {"type": "chat.send", "data": {"room": "chat", "text": text}}
            answer = await self._speaker.send(json.dumps(message))
            self._trips.expect(name, answer.get("status") == status, answer)

    async def texts_of_messages(self) -> None:
        """Send each as a text, edit it to another, and let it grow by a third."""
        sent = await self._all("chat.send", [{"room": "chat", "text": text} for text in self.texts])
        self._trips.compare("the reply to chat.send", self.texts, _each(sent, "message", "text"))
        ids = _each(sent, "message", "id")
        await self._heard("chat.message", self.texts, lambda data: data["text"], "an event on the other node")
        await self._read("the history on the other node")
        stored = await self._stored()
        self._trips.compare("an event for another service", self.texts, stored)
        other = list(reversed(self.texts))
        await self._edit(ids, other)
        await self._heard("chat.edited", other, lambda data: data["text"], "an edit on the other node")
        await self._edit(ids, ["-"] * len(ids))
        pieces = zip(ids, self.texts, strict=True)
        grown = await self._all(
            "chat.append", [{"room": "chat", "message_id": message, "text": text, "at": 1} for message, text in pieces]
        )
        lengths = [1 + len(text) for text in self.texts]
        self._trips.compare("the length after chat.append", lengths, _each(grown, "length"))
        await self._heard("chat.appended", self.texts, lambda data: data["text"], "a piece on the other node")
        await self._edit(ids, self.texts)
        await self._resume(self.texts)

    async def bodies(self) -> None:
        """Send each as a value and as a key of a body, and as the id that a client chooses."""
        bodies = [{"value": text, "keys": {text: [text]}} for text in self._strings]
        self._hearer.forget()
        sent = await self._all("chat.send", [{"room": "things", "body": body} for body in bodies])
        self._trips.compare("the reply with a body", bodies, _each(sent, "message", "body"))
        await self._heard("chat.message", bodies, lambda data: data["body"], "a body on the other node")
        short = [text for text in self.texts if len(text) <= MAX_CLIENT_ID]
        named = await self._all("chat.send", [{"room": "things", "text": "-", "client_id": text} for text in short])
        self._trips.compare("the client's own id", short, _each(named, "message", "client_id"))

    async def small_things(self) -> None:
        """Send each as the title of a room, as a signal, as data of an echo, and as a state of the user."""
        titles = [text for text in self.texts if len(text) <= MAX_TITLE]
        self._hearer.forget()
        await self._all("room.update", [{"room": "titled", "title": title} for title in titles])
        # An update to the same title is none.
        changed = [title for before, title in zip([None, *titles], titles, strict=False) if title != before]
        await self._heard("room.updated", changed, lambda data: data["room"]["title"], "the title of a room")
        signals = [{text: text} for text in self._strings]
        await self._all("room.signal", [{"room": "things", "name": "note", "data": each} for each in signals])
        await self._heard("room.signal", signals, lambda data: data["data"], "a signal on the other node")
        echoed = [await self._speaker.ask("echo", data=text) for text in self._strings]
        self._trips.compare("an echo", self._strings, _each(echoed, "data"))
        await self._states()

    async def services(self, key: str, hook: str) -> None:
        """Let a service say each, and a script, in each form that it may use. Read them with the server API."""
        bearer = {"Authorization": f"Bearer {key}"}
        self._hearer.forget()
        for text in self.texts:
            content = {"rooms": ["hook"], "message": {"text": text}}
            answer = (await self._http.post("/api/publish", json=content, headers=bearer)).json()
            self._trips.expect("publish", "error" not in answer["results"][0], answer)
        for text in self.texts:
            await self._http.post(f"/hook/{hook}", json={"text": text})
        for text in self.texts:
            await self._http.post(f"/hook/{hook}", data={"text": text})
        plain = {"Content-Type": "text/plain; charset=utf-8"}
        for text in self.texts:
            await self._http.post(f"/hook/{hook}", content=text.encode(), headers=plain)
        heard = await self._hearer.events_of("chat.message", 4 * len(self.texts), lambda data: data["text"])
        names = ("the server API", "a hook with JSON", "a hook with a form", "a hook with plain text")
        for number, name in enumerate(names):
            part = heard[number * len(self.texts) : (number + 1) * len(self.texts)]
            self._trips.compare(name, self.texts, part)
        found: list[str] = []
        after = 0
        while page := (await self._page(f"/api/rooms/hook/messages?after={after}&limit=100", bearer))["messages"]:
            found += [message["text"] for message in page]
            after = page[-1]["offset"]
        self._trips.compare("the history of the server API", heard, found)

    async def passwords(self) -> None:
        """Register with each as a name, which no string of the list may break, and log in with each as a password."""
        for number, text in enumerate(self._strings):
            named = await self._http.post("/users", json={"username": text, "password": "correct horse"})
            self._trips.expect("a user's name", named.status_code in (201, 409, 422), named.text)
            new = {"username": f"user-{number}", "password": text, "full_name": text or "-"}
            user = await self._http.post("/users", json=new)
            self._trips.expect("a new user", user.status_code in (201, 422), user.text)
            if user.status_code == 201:
                self._trips.expect("the full name of a user", user.json()["full_name"] == new["full_name"], user.text)
                form = {"username": new["username"], "password": text}
                answer = await self._http.post("/token", data=form)
                self._trips.expect("a log-in with a password", answer.status_code == 200, (text, answer.text))

    async def _states(self) -> None:
        groups = list(_grouped(self._strings))
        states = [{"strings": group} for group in groups]
        self._hearer.forget()
        for number, state in enumerate(states, 1):
            answer = await self._speaker.ask("presence.set", room="things", state=state)
            self._trips.expect("presence.set", answer.get("status") == OK, answer)
            # Changes within 50 ms are one.
            await self._hearer.events_of("presence.changed", number, lambda data: data)
        await self._heard("presence.changed", states, lambda data: data["custom_state"], "a state on the other node")
        answer = await self._hearer.ask("room.members", room="things")
        shown = [member.get("custom_state") for member in answer["data"]["members"] if member["user"] == "alice"]
        self._trips.compare("the list of members", states[-1:], shown)

    async def _all(self, type: str, contents: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Send messages of a type, some at a time, and return the answers."""
        answers: list[dict[str, Any]] = []
        for start in range(0, len(contents), AT_ONCE):
            part = contents[start : start + AT_ONCE]
            answers += await asyncio.gather(*(self._speaker.ask(type, **content) for content in part))
        return answers

    async def _edit(self, ids: Sequence[str], texts: Sequence[str]) -> None:
        pairs = zip(ids, texts, strict=True)
        contents = [{"room": "chat", "message_id": message, "text": text} for message, text in pairs]
        self._trips.expect(
            "chat.edit", all(each["status"] == OK for each in await self._all("chat.edit", contents)), "an error"
        )

    async def _heard(self, type: str, sent: Sequence[Any], part: Callable[[Any], Any], way: str) -> None:
        self._trips.compare(way, sent, await self._hearer.events_of(type, len(sent), part))
        self._hearer.forget()

    async def _read(self, way: str) -> None:
        """Read the room's history on the other node."""
        found: list[str] = []
        before: dict[str, int] = {}
        while True:
            answer = await self._hearer.ask("chat.history", room="chat", limit=PAGE, **before)
            messages = answer["data"]["messages"]
            found = [message["text"] for message in messages] + found
            if not answer["data"]["has_more"]:
                break
            before = {"before": messages[0]["offset"]}
        self._trips.compare(way, self.texts, found)

    async def _resume(self, texts: Sequence[str]) -> None:
        """Come back to the room from so far that the last changes are missing, a part of them at a time."""
        last = (await self._hearer.ask("room.join", room="chat", limit=0))["data"]
        size = min(200, len(texts))
        since = {"epoch": last["epoch"], "offset": last["offset"] - size}
        answer = await self._hearer.ask("room.join", room="chat", since=since)
        events = answer["data"].get("events", [])
        self._trips.compare("a resume on the other node", texts[-size:], [event["data"]["text"] for event in events])
        await self._read("the history after all edits")

    async def _stored(self) -> list[str]:
        """Return what the receiver of events got, which must be signed rightly."""
        with suppress(AssertionError, TimeoutError):
            await until(lambda: len(self._receiver.got) >= len(self.texts))
        got = self._receiver.of_type("message.stored")
        self._trips.expect("the signature of an event", all(each.verified for each in got), "a wrong one")
        by_offset = {each.data["message"]["offset"]: each.data["message"]["text"] for each in got}
        return [by_offset[offset] for offset in sorted(by_offset)]

    async def _page(self, path: str, headers: dict[str, str]) -> Any:
        return (await self._http.get(path, headers=headers)).json()


def _grouped(strings: Iterable[str]) -> list[list[str]]:
    """Return the strings in lists that fit into a state of a user."""
    groups: list[list[str]] = [[]]
    for text in strings:
        if len(json.dumps([*groups[-1], text], ensure_ascii=False).encode()) > MAX_STATE_BYTES:
            groups.append([])
        groups[-1].append(text)
    return groups


def _each(answers: Sequence[dict[str, Any]], *path: str) -> list[Any]:
    """Return a part of each answer's data."""
    return [_part(answer, ("data", *path)) for answer in answers]


def _part(value: Any, path: Sequence[str]) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value
