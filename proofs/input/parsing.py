"""Sends the cases of JSONTestSuite as frames, as `data`, as HTTP bodies, as answers of a service, and over the bus."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import redis.asyncio as redis

from benchmarks.rig import Person, database_for, populate, temporary_folder
from proofs.bar import Bar, Report
from proofs.input.json_cases import NOTHING, JsonCase, Tally, around, json_cases, same
from proofs.input.line import Line, opened
from proofs.keys import add_key
from proofs.logs import wrong_lines
from proofs.server import Server
from tests.support.upstreams import SECRET, Conversation, running_upstream
from tests.support.valkey import running_valkey
from tests.support.wire import CLOSE, frame

INVALID_UTF8 = 1007
ROOM = "lobby"

ROUTES = f"""
[routes."service.ask"]
url = "URL"
secret = "{SECRET}"
timeout_seconds = 20
"""

AS_MESSAGES = (b"", b"jg1 stranger\n", b'jg1 stranger\n{"kind":"node","what":"news","name":"x"}\n')
"""What stands before a case in a message of the bus."""

LIMITS = {"GATEWAY_MAX_PROTOCOL_ERRORS": "0", "GATEWAY_ROUTES": "routes.toml"}


async def prove_parsing(report: Report) -> list[Bar]:
    """Send all cases to all places, and see that the gateway goes on."""
    cases = json_cases()
    alice, bob = Person("alice"), Person("bob")
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        valkey = stack.enter_context(running_valkey())
        upstream = await stack.enter_async_context(running_upstream(Answers(cases).behave))
        (folder / "routes.toml").write_text(ROUTES.replace("URL", upstream.url), encoding="utf-8")
        url = f"sqlite:///{folder / 'gateway.db'}"
        database = database_for(url)
        await populate(database, [alice, bob], {ROOM: [alice, bob]})
        key, hook = await add_key(database, "json", "api:publish"), await add_key(database, "hook", hook_of=ROOM)
        await database.close()
        server = Server(folder, url, GATEWAY_BUS_URL=valkey.url, **LIMITS)
        pid = await stack.enter_async_context(server.running())
        listener = await stack.enter_async_context(opened(server.port, bob.token))
        await _joins(listener)
        http = await stack.enter_async_context(httpx2.AsyncClient(base_url=f"http://127.0.0.1:{server.port}"))
        places = Places(server, alice, http, cases)
        tallies = [
            await places.frames(),
            await places.data(),
            await places.answers(),
            await places.bodies("/call/echo", alice.token, b"", b""),
            await places.bodies("/api/publish", key, b'{"rooms":["lobby"],"message":{"body":', b"}}"),
            await places.bodies("/api/publish", key, b"", b""),
            await places.bodies(f"/hook/{hook}", "", b'{"text":"x","more":', b"}"),
            await places.bodies("/users", "", b"", b""),
            await places.bus(valkey.url),
        ]
        for tally in tallies:
            report(f"JSON, {tally.place}: {tally.accepted} accepted, {tally.refused} refused, {len(tally.wrong)} wrong")
        after = await _goes_on(listener, alice, server)
        fault = wrong_lines("lines of the log that report a fault, after all cases of JSON", server.log)
    lives = Bar("the same process serves afterwards", "yes", f"{'yes' if after else 'no'}, pid {pid}", after)
    return [*(bar_of(tally) for tally in tallies), lives, fault]


def bar_of(tally: Tally) -> Bar:
    """Return the bar of a place."""
    words = "".join(f"; {each}" for each in tally.wrong[:3])
    found = f"{tally.accepted} accepted, {tally.refused} refused, {len(tally.wrong)} wrong{words}"
    return Bar(f"318 cases of JSON: {tally.place}", "0 wrong", found, not tally.wrong)


async def _joins(line: Line) -> None:
    await line.say({"type": "room.join", "id": 1, "data": {"room": ROOM}})
    await line.answer(1)


async def _goes_on(listener: Line, sender: Person, server: Server) -> bool:
    """Return whether a message of one client still reaches the other, which has heard all of this."""
    async with opened(server.port, sender.token) as line:
        await line.say({"type": "chat.send", "id": 1, "data": {"room": ROOM, "text": "the last one"}})
        answer = await line.answer(1)
    await listener.say({"type": "ping", "id": 2})
    last = None
    while (received := await listener.read()) is not None and json.loads(received[1]).get("id") != 2:
        last = json.loads(received[1])
    return answer.get("status") == 20000 and last is not None and last["data"].get("text") == "the last one"


class Answers:
    """A service whose answer is the case that the message names."""

    def __init__(self, cases: list[JsonCase]) -> None:
        self._cases = {case.name: case for case in cases}

    async def behave(self, client: Conversation) -> None:
        """Answer each message."""
        while True:
            asked = (await client.request()).json["data"]
            case = self._cases[asked["name"]]
            await client.answer(around(case, b'{"data":{"value":', b"}}") if asked["as_part"] else case.raw)


class Places:
    """The places where the gateway reads JSON."""

    def __init__(self, server: Server, person: Person, http: httpx2.AsyncClient, cases: list[JsonCase]) -> None:
        self._port = server.port
        self._person = person
        self._http = http
        self._cases = cases

    async def frames(self) -> Tally:
        """Send each case as a whole frame. JSON is refused as well: it is no message. But the words differ."""
        tally = Tally("as a frame")
        for case, answer in await self._sent(b"", b""):
            if answer is None:
                if case.name in NOTHING:
                    tally.refused += 1
                else:
                    tally.mistake(case, "no answer")
            elif not self._closed_rightly(tally, case, answer):
                tally.count(case, not _refuses_json(answer), str(answer))
        return tally

    async def data(self) -> Tally:
        """Send each case as the data of an `echo`, which must come back the same."""
        tally = Tally("as the data of a message")
        for case, answer in await self._sent(b'{"type":"echo","id":1,"data":', b"}"):
            if answer is None:
                tally.mistake(case, "no answer")
            elif not self._closed_rightly(tally, case, answer):
                accepted = answer["status"] == 20000
                if not accepted and answer["status"] not in (40000, 41300):
                    tally.mistake(case, str(answer))
                # Without data, a message has the empty object; null is no data.
                value = None if case.raw == b"null" else answer.get("data")
                self._judge(tally, case, accepted, value, str(answer))
        return tally

    async def answers(self) -> Tally:
        """Let a service behind a route answer with each case, whole and as a part of its data."""
        tally = Tally("as the answer of a service")
        async with opened(self._port, self._person.token) as line:
            for number, case in enumerate(self._cases, 1):
                whole, part = 2 * number, 2 * number + 1
                for place, as_part in ((whole, False), (part, True)):
                    data = {"name": case.name, "as_part": as_part}
                    await line.say({"type": "service.ask", "id": place, "data": data})
                    answer = await line.answer(place)
                    status = answer.get("status")
                    if status not in (20000, 50200) or (status == 20000 and not as_part):
                        tally.mistake(case, str(answer))
                    if as_part:
                        value = (answer.get("data") or {}).get("value")
                        self._judge(tally, case, status == 20000, value, str(answer))
        return tally

    async def bodies(self, path: str, token: str, before: bytes, after: bytes) -> Tally:
        """Send each case as the body of a request, or as a part of one."""
        shown = "/hook/{key}" if path.startswith("/hook/") else path
        tally = Tally(f"in the body of {shown}" if before else f"as the body of {shown}")
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        for case in self._cases:
            body = around(case, before, after)
            response = await self._http.post(path, content=body, headers=headers)
            if response.status_code >= 500 or response.status_code == 401:
                tally.mistake(case, f"{response.status_code} {response.text[:100]}")
            # What is JSON and no request is 422; what is no JSON is 400.
            accepted = response.status_code not in (400, 413) and not _is_no_json(response)
            if case.name in NOTHING and not before:
                tally.refused += 1
            else:
                tally.count(case, accepted, f"{response.status_code} {response.text[:100]}")
            if path == "/call/echo" and accepted and case.must_pass and not same(response.json(), case.value):
                tally.mistake(case, f"came back as {response.text[:100]}")
        return tally

    async def bus(self, url: str) -> Tally:
        """Publish each case on the bus: alone, as a head, and as the data of a message between nodes."""
        tally = Tally("on the bus")
        client = redis.Redis.from_url(url)
        try:
            channels = sorted(await client.pubsub_channels("*"))
            before = await self._rejected()
            bad = [case for case in self._cases if case.name.startswith("n_")]
            for case in bad:
                await _publish(client, channels, case)
            expected = len(bad) * len(channels) * len(AS_MESSAGES)
            rejected = await self._settled(before + expected) - before
            tally.refused = rejected // (len(channels) * len(AS_MESSAGES))
            if rejected != expected:
                tally.wrong.append(f"{rejected} of {expected} messages were rejected")
            for case in self._cases:
                if case not in bad:
                    await _publish(client, channels, case)
            tally.accepted = len(self._cases) - len(bad)
        finally:
            await client.aclose()
        return tally

    async def _rejected(self) -> int:
        """Return how many messages of the bus the gateway could not read."""
        text = (await self._http.get("/metrics")).text
        lines = [line for line in text.splitlines() if line.startswith("gateway_bus_rejected_total")]
        return int(sum(float(line.rpartition(" ")[2]) for line in lines))

    async def _settled(self, expected: int) -> int:
        """Return that number when it is as expected, or else after some seconds."""
        for _ in range(100):
            if (found := await self._rejected()) >= expected:
                break
            await asyncio.sleep(0.1)
        return found

    async def _sent(self, before: bytes, after: bytes) -> list[tuple[JsonCase, dict[str, Any] | None]]:
        """Send each case with text around it. Return the answers, and for a closed connection the code."""
        found: list[tuple[JsonCase, dict[str, Any] | None]] = []
        rest = list(self._cases)
        while rest:
            async with opened(self._port, self._person.token) as line:
                while rest:
                    case = rest.pop(0)
                    await line.write(frame(around(case, before, after)))
                    answer = await _answer_to(line)
                    found.append((case, answer))
                    if answer is not None and "closed" in answer:
                        break
        return found

    def _closed_rightly(self, tally: Tally, case: JsonCase, answer: dict[str, Any]) -> bool:
        """Return whether the answer was a close frame, which only bytes that are no text may cause."""
        if "closed" not in answer:
            return False
        if case.is_text or answer["closed"] != INVALID_UTF8:
            tally.mistake(case, str(answer))
        tally.refused += 1
        return True

    def _judge(self, tally: Tally, case: JsonCase, accepted: bool, value: Any, words: str) -> None:
        tally.count(case, accepted, words)
        if accepted and case.must_pass and not same(value, case.value):
            tally.mistake(case, f"came back as {value!r}")


async def _answer_to(line: Line) -> dict[str, Any] | None:
    """Return what came before the answer to a ping, or the code of the close frame."""
    await line.say({"type": "ping", "id": "after"})
    answer = None
    while (received := await line.read()) is not None:
        opcode, payload = received
        if opcode == CLOSE:
            return {"closed": int.from_bytes(payload[:2])}
        content: dict[str, Any] = json.loads(payload)
        if content.get("id") == "after":
            return answer
        answer = content
    return {"closed": 1006}


def _refuses_json(answer: dict[str, Any]) -> bool:
    """Return whether an error says that a text is no JSON, or longer than any message."""
    return answer["status"] == 41300 or (answer["status"] == 40000 and "but" in answer["message"])


async def _publish(client: redis.Redis, channels: Sequence[bytes | str], case: JsonCase) -> None:
    for channel in channels:
        for head in AS_MESSAGES:
            await client.publish(channel, head + case.raw)


def _is_no_json(response: httpx2.Response) -> bool:
    return response.status_code == 422 and "JSON" in response.text
