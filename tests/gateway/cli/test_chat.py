"""`gateway chat`: a person at a terminal, a script at the end of a pipe."""

import asyncio
import json
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
from rich.text import Text
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from gateway.cli.chat import chat, conversation
from gateway.cli.chat.account import Account
from gateway.cli.chat.commands import line_of_input
from gateway.cli.chat.conversation import Conversation
from gateway.cli.chat.growing import GrowingText
from gateway.cli.chat.passing import Passing
from gateway.cli.chat.pipe import Pipe
from gateway.cli.chat.screen import Line
from gateway.cli.chat.terminal import Editor
from gateway.cli.chat.wording import clean, explain, line_of
from gateway.cli.gateway_address import gateway_at
from gateway.core.start_error import StartError
from gateway.testing import Gateway
from gateway_client import Times
from handlers import BUILT_IN, Chunk, MsgHandler, Registry, Reply
from schemas.base import Wire
from tests.conftest import OwnGateway
from tests.gateway.cli.command import PASSWORD, Piped, Served, Terminal, command, environment, run, run_all, words
from tests.support.client import App
from tests.support.waiting import until

pytestmark = pytest.mark.server

Frame = dict[str, Any]
Result = TypeVar("Result")

# ---- in a pipe ----


async def test_each_piped_line_is_said_and_what_cannot_be_is_reported(
    served: Served, app: App, alice: str, bob: str, room: str
) -> None:
    (served.folder / "password").write_text(f"{PASSWORD}\nnot the password\n")
    options = (served.url, "--room", room, "--password-file", "password")
    lines = ["Hello!", "", "x" * 4001, "Grüße", "   ", "y" * 70_000, "/quit", "Bye!"]
    piped = "\r\n".join(lines).encode() + b"\nlatin-1: \xe9\nThe last one has no line break."
    async with app.in_room(alice, room) as ann:
        result = await asyncio.to_thread(run, served.folder, "chat", *options, "--user", bob, "--register", typed=piped)
        await ann.expect("room.joined", user=bob)
        said = ["Hello!", "Grüße", "/quit", "Bye!", "The last one has no line break."]
        for text in said:
            await ann.expect("chat.message", sender=bob, text=text)
        await ann.expect_nothing()
    assert [line.split(f"{bob}: ")[1] for line in result.out.splitlines()] == said
    too_long, too_large, not_text = result.err.splitlines()
    assert too_long == "gateway: line 3 was not sent: text: String should have at most 4000 characters"
    assert too_large.startswith("gateway: line 6 was not sent: expected a message of at most 65536 bytes, got 70")
    assert not_text == "gateway: line 9 was not sent: it is not UTF-8"
    assert result.status == 1


async def test_a_pipe_that_is_read_by_head_ends_quietly(served: Served, app: App, alice: str, room: str) -> None:
    await app.register(alice)
    chat = " ".join(words("chat", served.ws_url, "--user", alice, "--room", room))
    done = await asyncio.to_thread(
        subprocess.run,
        ["/bin/sh", "-c", f"yes | head -n 50 | {chat} | head -n 2"],
        env=environment(served.folder, GATEWAY_CHAT_PASSWORD=PASSWORD),
        cwd=served.folder,
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert done.stdout.decode().count(f"{alice}: y") == 2
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("url", "user", "password", "options", "problem"),
    [
        ("ws://127.0.0.1:9", "alice", PASSWORD, {}, "cannot reach http://127.0.0.1:9 "),
        ("{served}", "nobody", PASSWORD, {}, "cannot log in: wrong user name or password; new here? add --register"),
        ("{served}", "X", PASSWORD, {"register": True}, "cannot register: username: expected 3 to 32 "),
        ("{served}", "bob", "short", {"register": True}, "cannot register: password: expected 8 to 1024 bytes"),
        ("{served}/elsewhere", "alice", PASSWORD, {}, "there is no gateway at {served_http}/elsewhere; is the path "),
        ("{served}", "alice", PASSWORD, {"password_file": Path("/no/file")}, "cannot read the password file /no/file"),
    ],
)
def test_what_stands_in_the_way_is_told_in_one_line(
    served: Served,
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    user: str,
    password: str,
    options: dict[str, Any],
    problem: str,
) -> None:
    monkeypatch.setenv("GATEWAY_CHAT_PASSWORD", password)
    with pytest.raises(StartError) as refused:
        chat(user, url.format(served=served.ws_url), **options)
    assert str(refused.value).startswith(problem.format(served_http=served.url))
    assert "\n" not in str(refused.value)
    assert password not in str(refused.value)


def test_a_bad_room_and_a_missing_password_are_told_as_well(served: Served, alice: str) -> None:
    options = (served.ws_url, "--user", alice, "--register")
    bad_room, no_terminal = run_all(
        command(served.folder, "chat", *options, "--room", "No Room", typed="hi", GATEWAY_CHAT_PASSWORD=PASSWORD),
        command(served.folder, "chat", *options, typed="hi"),
    )
    assert bad_room.problem.startswith("cannot join the room: room: expected 1 to 64 ")
    assert "--password-file" in no_terminal.problem
    assert "GATEWAY_CHAT_PASSWORD" in no_terminal.problem


def test_who_may_not_register_is_told_to_ask(
    own_gateway: Callable[..., Gateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_CHAT_PASSWORD", PASSWORD)
    gateway = own_gateway(registration="closed")
    with pytest.raises(StartError, match="registration is closed; ask the operator"):
        chat("alice", gateway.ws_url, register=True)


async def test_a_script_that_is_told_to_stop_leaves_politely(served: Served, app: App, alice: str, room: str) -> None:
    await app.register(alice)
    with Piped(served.folder, served.ws_url, "--user", alice, "--room", room) as script:
        script.write("Hello!\n")
        await _soon(script.out.expect, f"{alice}: Hello!")
        script.process.terminate()
        assert await _soon(script.process.wait) == 128 + signal.SIGTERM
        assert script.err.text == ""


# ---- on a terminal ----


async def test_somebody_types_while_others_talk(served: Served, app: App, alice: str, bob: str, room: str) -> None:
    async with app.in_room(bob, room) as ben:
        for number in range(1, 31):
            await ben.ask("chat.send", room=room, text=f"old news {number}")
            await ben.expect("chat.message")
        options = (served.ws_url, "--user", alice, "--room", room, "--register")
        with Terminal(served.folder, "chat", *options, GATEWAY_CHAT_PASSWORD=PASSWORD) as ann:
            await _soon(ann.expect, f"you are {alice}")
            assert "old news 11\r\n" in ann.text
            assert "old news 10\r\n" not in ann.text
            await ben.expect("room.joined", user=alice)

            ann.type("Hullo\x1b[D\x1b[D\x1b[D\x1b[D")
            await _soon(ann.expect, "> Hullo")
            await ben.ask("chat.send", room=room, text="An \x1b[2Jevil\x07 \u202eline\nbreak")
            await ben.expect("chat.message")
            # What had been typed is below what arrived in between.
            await _soon(ann.expect, f"{bob}: An [2Jevil line ⏎ break\r\n\r> Hullo")
            assert "\x1b[2J" not in ann.raw
            ann.type("\x1b[3~e\n/help\n//me waves\n")
            await ben.expect("chat.message", sender=alice, text="Hello")
            await ben.expect("chat.message", sender=alice, text="/me waves")
            await _soon(ann.expect, "/quit leaves")
            ann.type("x" * 4001 + "\n")
            await _soon(ann.expect, "at most 4000 characters")

            await ben.ask("room.role", room=room, user=alice, role="owner")  # a room needs one
            await ben.expect("room.role")
            await ben.ask("room.leave", room=room)
            await _soon(ann.expect, f"← {bob} left")
            ann.type("/quit\n")
            assert await _soon(ann.end) == 0


async def test_ctrl_c_leaves_and_gives_the_terminal_back(served: Served, app: App, alice: str, room: str) -> None:
    await app.register(alice)
    with Terminal(served.folder, "chat", served.ws_url, "--user", alice, "--room", room) as ann:
        await _soon(ann.expect, "Password:")
        ann.type(f"{PASSWORD}\n")
        await _soon(ann.expect, f"you are {alice}")
        ann.type("\x03")
        assert await _soon(ann.end) == 0
        assert ann.echoes()
        assert PASSWORD not in ann.raw


class Count(Wire):
    """How far to count, and whether to end then."""

    most: int
    ends: bool = True


class CountHandler(MsgHandler[Count, Count]):
    """Counts, a number at a time."""

    schema = Count

    async def handle(self, data: Count) -> AsyncIterator[Chunk]:
        for number in range(1, data.most + 1):
            await asyncio.sleep(0)
            yield f"{number}\n" if number % 10 == 0 else f"{number} "
        if not data.ends:
            await asyncio.Event().wait()
        yield Reply(data)


async def test_a_person_sees_chunks_above_the_line_to_type_on_and_cancels_with_ctrl_c(
    own_gateway: OwnGateway, tmp_path: Path
) -> None:
    gateway = own_gateway(registry=BUILT_IN | Registry(handlers={"count": CountHandler}))
    options = (gateway.ws_url, "--user", "alice", "--room", "lobby", "--register")
    async with App(gateway) as app, app.in_room("bobby", "lobby") as ben:
        with Terminal(tmp_path, "chat", *options, GATEWAY_CHAT_PASSWORD=PASSWORD) as ann:
            await _soon(ann.expect, "you are alice")
            await ben.expect("room.joined", user="alice")
            ann.type('/call count {"most": 25}\n')
            await _soon(ann.expect, 'count → {"most": 25, "ends": true}')
            lines = ["count: 1 2 3 4 5 6 7 8 9 10", "│ 11 12 13 14 15 16 17 18 19 20", "│ 21 22 23 24 25 "]
            assert [line for line in lines if f"{line}\r\n" in ann.text] == lines

            ann.type('/call count {"most": 1, "ends": false}\nHel')
            await _soon(ann.expect, "count: 1 \r\n\r> Hel")
            message = await ben.say("lobby", "It ")
            # What others say goes above what grows.
            await _soon(ann.expect, "bobby: It \r\ncount: 1 \r\n\r> Hel")
            ann.type("lo\n")
            await ben.expect("chat.message", text="Hello")
            ann.type("\x03")
            await _soon(ann.expect, "— count: you have cancelled this message")
            await ben.send(
                {"type": "chat.append", "data": {"room": "lobby", "message_id": message["id"], "text": "grows"}}
            )
            await _soon(ann.expect, "bobby (more): grows")
            ann.type("\x03")
            assert await _soon(ann.end) == 0
            assert ann.echoes()


# ---- a test's own gateway, which does what the real one does rarely ----


WELCOME: Frame = {
    "connection": "c1",
    "user": "alice",
    "scopes": [],
    "server_time": "2026-01-02T03:04:05.678Z",
    "token_expires_at": "2026-01-02T03:19:05.678Z",
    "heartbeat_seconds": 25.0,
    "max_message_bytes": 65536,
    "protocol": 1,
}


class Actor:
    """A server that speaks the protocol. Its acts say what to do with the first messages; it keeps the later ones."""

    def __init__(self, *acts: str) -> None:
        self.acts = list(acts)
        self.kept: list[str] = []
        self.client_ids: set[str] = set()
        self.tokens: list[str] = []
        self.epoch = "first"
        self.room_error: Frame | None = None
        """The error of the room, for a client that resumes it."""
        self.gone = False
        self.resumed = 0
        """How often a client has resumed its rooms."""
        self.calls: list[Frame] = []
        self.cancelled: list[int] = []
        self.events: list[Frame] = []
        """Events for the client after its next line."""

    async def talk(self, ws: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            await self._talk(ws)

    async def _talk(self, ws: ServerConnection) -> None:
        assert ws.request is not None
        self.tokens.append(ws.request.headers["Authorization"])
        if self.gone:
            await ws.close(1013, "overloaded")
        await self._send(ws, "welcome", **WELCOME)
        async for text in ws:
            message = json.loads(text)
            await self._answer(ws, message, message["data"])

    async def _answer(self, ws: ServerConnection, message: Frame, data: Frame) -> None:
        match message["type"]:
            case "room.join":
                await self._reply(ws, message, **self._joined(data))
            case "room.resume":
                self.resumed += 1
                await self._reply(ws, message, rooms=[self._joined(each) for each in data["rooms"]], has_more=False)
            case "bye":
                await self._reply(ws, message)
                await ws.close(1000, "bye")
            case "chat.send":
                await self._act(self.acts.pop(0) if self.acts else "keep", ws, message)
            case "cancel":
                self.cancelled.append(data["id"])
                await self._refuse(ws, data["id"], 49900, "cancelled")
                await self._reply(ws, message)
            case _:
                self.calls.append({key: value for key, value in message.items() if key != "id"})
                await self._stream(ws, message, data)

    async def _stream(self, ws: ServerConnection, message: Frame, data: Frame) -> None:
        for number, chunk in enumerate(data.get("chunks", ()), start=1):
            await ws.send(json.dumps({"type": "chunk", "id": message["id"], "seq": number, "data": chunk}))
        match message["type"]:
            case "count":
                await self._reply(ws, message, **data.get("reply", {}))
            case "fail":
                await self._refuse(ws, message["id"], 50000, "it broke")
            case "vanish":
                ws.transport.abort()

    async def _refuse(self, ws: ServerConnection, id: int, status: int, words: str) -> None:
        error = {"status": status, "name": "x", "message": words, "retryable": False}
        await ws.send(json.dumps({"type": "error", "id": id} | error))

    def _joined(self, data: Frame) -> Frame:
        if self.room_error is not None and "since" in data:
            return {"room": data["room"], "error": self.room_error}
        return {"room": data["room"], "epoch": self.epoch, "offset": len(self.kept), "members": 1} | self._resumed(
            data.get("since")
        )

    def _resumed(self, since: Frame | None) -> Frame:
        if since is None:
            return {"messages": self._messages(0)}
        if since["epoch"] != self.epoch:
            return {"recovered": False, "reason": "epoch_changed", "messages": self._messages(0)}
        missed = self._messages(since["offset"])
        return {"recovered": True, "events": [{"type": "chat.message", "data": each} for each in missed]}

    async def _act(self, act: str, ws: ServerConnection, message: Frame) -> None:
        again = message["data"]["client_id"] in self.client_ids
        self.client_ids.add(message["data"]["client_id"])
        if again and act == "keep":
            await self._reply(ws, message, message=self._messages(0)[-1], duplicate=True)
            return
        if act in ("keep", "keep and vanish"):
            self.kept.append(message["data"]["text"])
        else:
            self.client_ids.discard(message["data"]["client_id"])
        if act in ("vanish", "keep and vanish"):
            ws.transport.abort()
        elif act == "keep":
            (kept,) = self._messages(len(self.kept) - 1)
            await self._reply(ws, message, message=kept, duplicate=False)
            await self._send(ws, "chat.message", **kept)
            for event in self.events:
                await ws.send(json.dumps(event))
        elif act == "be busy":
            error = {"status": 50300, "name": "unavailable", "message": "down", "retryable": True, "retry_after_ms": 1}
            await ws.send(json.dumps({"type": "error", "id": message["id"]} | error))
        elif act == "go":
            self.gone = True
            await ws.close(1013, "overloaded")
        else:
            code, reason, reconnect = act.split()
            await self._send(ws, "bye", code=int(code), reason=reason, reconnect=reconnect)
            await ws.close(int(code), reason)

    def _messages(self, after: int) -> list[Frame]:
        when = "2026-01-02T03:04:05.678Z"
        return [
            {
                "id": f"m{n}",
                "epoch": self.epoch,
                "offset": n,
                "changed": n,
                "room": "lobby",
                "sender": "alice",
                "text": text,
                "sent_at": when,
                "deleted": False,
            }
            for n, text in enumerate(self.kept[after:], start=after + 1)
        ]

    async def _reply(self, ws: ServerConnection, message: Frame, /, **data: Any) -> None:
        await ws.send(json.dumps({"type": "reply", "id": message["id"], "status": 20000, "data": data}))

    async def _send(self, ws: ServerConnection, type: str, **data: Any) -> None:
        await ws.send(json.dumps({"type": type, "data": data}))


class Script:
    """A screen that returns lines, and remembers what it was shown."""

    live = False

    def __init__(self, *lines: str) -> None:
        self._lines = [line_of_input(number, text) for number, text in enumerate(lines, start=1)]
        self.shown: list[str] = []
        self.told: list[str] = []
        self.grown: list[str] = []
        """Each piece with the label of its text, and the settled texts."""

    async def next_line(self) -> Line | None:
        return self._lines.pop(0) if self._lines else None

    def show(self, line: Text) -> None:
        self.shown.append(line.plain.partition("alice: ")[2] or line.plain)

    def grow(self, key: str, label: Text, piece: str) -> None:
        self.grown.append(label.plain + piece)

    def settle(self, key: str) -> None:
        self.grown.append(f"end of {key}")

    def notify(self, notice: str) -> None:
        self.told.append(notice)

    def report(self, line: Line, problem: str) -> None:
        self.told.append(f"line {line.number}: {problem}")


class Silent(Script):
    """A screen of a silent user."""

    async def next_line(self) -> Line | None:
        await asyncio.Event().wait()
        return None

    def show(self, line: Text) -> None:
        self.shown.append(line.plain)


class AccountWithoutHttp(Account):
    """Has a second token for the next log-in."""

    async def log_in(self) -> None:
        self.token = "token-2"


@asynccontextmanager
async def conversing(actor: Actor, script: Script) -> AsyncIterator[Conversation]:
    async with (
        serve(actor.talk, "127.0.0.1", 0) as server,
        AccountWithoutHttp(gateway_at(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"), "alice", "") as account,
        asyncio.timeout(20),
    ):
        account.token = "token-1"
        yield Conversation(account, "lobby", script, last=50)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that end at once."""
    monkeypatch.setattr(conversation, "TIMES", Times(first_delay=0.01))
    monkeypatch.setattr(conversation, "BREATH_SECONDS", 0.01)


@pytest.mark.parametrize("act", ["vanish", "keep and vanish", "be busy", "1011 internal_error with_backoff"])
@pytest.mark.usefixtures("hasty")
async def test_a_line_is_said_once_whatever_happens_to_its_connection(act: str) -> None:
    actor, script = Actor("keep", act), Script("one", "two", "three")
    async with conversing(actor, script) as talk:
        await talk.run()
    assert actor.kept == script.shown == ["one", "two", "three"]
    assert not talk.failed


@pytest.mark.usefixtures("hasty")
async def test_an_expired_token_is_renewed_without_a_word_lost() -> None:
    actor, script = Actor("4410 token_expired new_credential"), Script("one", "two")
    async with conversing(actor, script) as talk:
        await talk.run()
    assert actor.kept == ["one", "two"]
    assert actor.tokens == ["Bearer token-1", "Bearer token-2"]


def refused(status: int, *, retryable: bool = False) -> Frame:
    return {"status": status, "name": "x", "message": f"refused with {status}", "retryable": retryable}


@pytest.mark.usefixtures("hasty")
async def test_a_log_that_was_set_back_is_shown_anew() -> None:
    actor, script = Actor("keep", "vanish"), Script("one", "two")
    actor.room_error = refused(41000)
    async with conversing(actor, script) as talk:
        await talk.run()
    assert actor.kept == ["one", "two"]
    assert script.shown == ["one", "one", "two"]
    assert "the room has a new log; here are the newest messages" in script.told


@pytest.mark.usefixtures("hasty")
async def test_a_room_that_refuses_its_resume_ends_the_talk_unless_time_helps() -> None:
    actor, script = Actor("keep", "vanish"), Script("one", "two")
    actor.room_error = refused(40400)
    async with conversing(actor, script) as talk:
        with pytest.raises(StartError, match="cannot join the room: refused with 40400"):
            await talk.run()
    actor, script = Actor("keep", "vanish"), Script("one", "two")
    actor.room_error = refused(42900, retryable=True)
    async with conversing(actor, script) as talk:
        talking = asyncio.create_task(talk.run())
        await until(lambda: actor.resumed > 2)
        actor.room_error = None
        await talking
    assert actor.kept == script.shown == ["one", "two"]


async def test_a_talk_goes_on_beyond_the_end_of_its_token_on_one_connection(
    own_gateway: OwnGateway, alice: str, room: str
) -> None:
    gateway = own_gateway(token_minutes=1.02)  # so the gateway says after a second that it ends, a minute before
    script = Silent()
    async with App(gateway) as app, asyncio.timeout(20):
        await app.register(alice, PASSWORD)
        async with Account(gateway_at(gateway.ws_url), alice, PASSWORD) as account:
            talking = asyncio.create_task(Conversation(account, room, script, last=0).run())
            log = gateway.settings.data_dir / "audit.log"
            await until(lambda: '"refreshed"' in log.read_text())
            first = account.token
            async with app.in_room("bobby", room) as ben:
                await ben.ask("chat.send", room=room, text="Still there?")
                await until(lambda: any("bobby: Still there?" in line for line in script.shown))
            [session] = (await app.ask("GET", "/users/me/sessions", str(first))).json()["sessions"]
            assert session["current"]
            talking.cancel()
            with suppress(asyncio.CancelledError):
                await talking
    assert not [line for line in script.told if "lost" in line]


async def test_an_account_goes_on_with_its_session_and_logs_in_when_that_has_ended(
    own_gateway: OwnGateway, alice: str
) -> None:
    gateway = own_gateway()
    async with App(gateway) as app, Account(gateway_at(gateway.ws_url), alice, PASSWORD) as account:
        await account.register()
        await account.log_in()

        async def sessions() -> int:
            return len((await app.ask("GET", "/users/me/sessions", str(account.token))).json()["sessions"])

        await account.renew()
        assert await sessions() == 1
        await app.http.post("/token/revoke", data={"token": str(account.token)})
        await account.renew()
        assert await sessions() == 1
        await account.log_in()
        assert await sessions() == 2


@pytest.mark.usefixtures("hasty")
async def test_a_revoked_token_ends_it_with_the_reason_and_the_line_that_was_not_sent() -> None:
    actor, script = Actor("keep", "4411 token_revoked new_credential"), Script("one", "two", "three")
    async with conversing(actor, script) as talk:
        with pytest.raises(StartError, match="token_revoked"):
            await talk.run()
        talk.report_unsent()
    assert script.told == ["line 2: the end came before the gateway acknowledged it"]
    assert talk.failed
    assert len(actor.tokens) == 1


@pytest.mark.usefixtures("hasty")
async def test_a_pipe_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "PATIENCE_SECONDS", 0)
    actor, script = Actor("keep", "go"), Script("one", "two")
    async with conversing(actor, script) as talk:
        with pytest.raises(StartError, match="gave up"):
            await talk.run()
        talk.report_unsent()
    assert actor.kept == ["one"]
    lost, unsent = script.told
    assert lost.startswith("the connection is lost (overloaded)")
    assert unsent.startswith("line 2: ")


# ---- calls, messages that grow, signals ----


async def test_a_script_calls_any_type_and_sees_its_chunks_as_they_come() -> None:
    actor = Actor()
    script = Script(
        "Hello!",
        '/call count {"chunks": ["1 ", "2 ", {"three": 3}, "4"], "reply": {"most": 4}}',
        "/call count",
        "/call",
        "/call count {not JSON",
        "//call me",
    )
    async with conversing(actor, script) as talk:
        await talk.run()
    assert actor.kept == ["Hello!", "/call me"]
    chunks = {"chunks": ["1 ", "2 ", {"three": 3}, "4"], "reply": {"most": 4}}
    assert actor.calls == [
        {"type": "count", "stream": True, "data": chunks},
        {"type": "count", "stream": True, "data": {}},
    ]
    assert script.grown == [
        "end of m1",
        *("count: 1 ", "count: 2 ", "end of call 1", "count: 4", "end of call 1"),
        "end of call 2",
        "end of m2",
    ]
    assert script.shown == ["Hello!", 'count: {"three": 3}', 'count → {"most": 4}', "count → {}", "/call me"]
    without_type, not_json = script.told
    assert without_type.startswith("line 4: expected /call TYPE [DATA]")
    assert not_json.endswith("the data is not JSON")


async def test_a_call_that_fails_is_told_and_not_made_again() -> None:
    actor = Actor()
    script = Script('/call fail {"chunks": ["half"]}', "/call vanish", "Here again")
    async with conversing(actor, script) as talk:
        await talk.run()
    assert [call["type"] for call in actor.calls] == ["fail", "vanish"]
    assert script.grown[:2] == ["fail: half", "end of call 1"]
    assert script.told[:2] == ["fail: it broke", "vanish: the connection was lost before the answer came"]
    assert actor.kept == ["Here again"]
    assert talk.failed


class Person(Script):
    """A person that types when the test wants it."""

    live = True

    def __init__(self) -> None:
        super().__init__()
        self.typed: asyncio.Queue[Line | None] = asyncio.Queue()

    async def next_line(self) -> Line | None:
        return await self.typed.get()

    def type(self, text: str) -> None:
        self.typed.put_nowait(line_of_input(1, text))


async def test_ctrl_c_cancels_the_call_while_its_person_talks_on() -> None:
    actor, person = Actor(), Person()
    leaves = signal.getsignal(signal.SIGINT)
    async with conversing(actor, person) as talk:
        talking = asyncio.create_task(talk.run())
        person.type('/call endless {"chunks": ["one"]}')
        await until(lambda: person.grown == ["endless: one"])
        person.type("/call endless")
        await until(lambda: bool(person.told[1:]))
        assert person.told[1] == "line 1: the call before it still runs; Ctrl-C cancels that"
        person.type("I talk meanwhile")
        await until(lambda: actor.kept == ["I talk meanwhile"])
        signal.raise_signal(signal.SIGINT)
        await until(lambda: "endless: cancelled" in person.told)
        assert actor.cancelled == [2]
        assert signal.getsignal(signal.SIGINT) is leaves
        person.typed.put_nowait(None)
        await talking
    assert len(actor.calls) == 1


async def test_a_message_grows_behind_the_name_of_its_sender() -> None:
    actor, person = Actor(), Person()
    appended = {"id": "m1", "room": "lobby", "epoch": "first", "offset": 1, "at": 3}
    actor.events = [
        {"type": "chat.appended", "data": appended | {"changed": 2, "text": "lo"}},
        {"type": "chat.appended", "data": appended | {"changed": 3, "at": 5, "text": "!", "done": True}},
        {"type": "chat.appended", "data": appended | {"id": "unknown", "changed": 4, "text": "more"}},
    ]
    async with conversing(actor, person) as talk:
        talking = asyncio.create_task(talk.run())
        person.type("Hel")
        await until(lambda: len(person.grown) == 5)
        person.typed.put_nowait(None)
        await talking
    before, *pieces = person.grown
    assert before == "end of m1"
    assert [piece.partition("alice")[2] or piece for piece in pieces] == [
        " (more): lo",
        " (more): !",
        "end of m1",
        "#1 (more): more",
    ]


def test_a_pipe_prints_pieces_behind_each_other_until_another_line_comes(capsys: pytest.CaptureFixture[str]) -> None:
    pipe, label = Pipe(), Text("count: ")
    for piece in ("1 ", "2 ", "\x1b[2J3\nbob: no"):
        pipe.grow("a", label, piece)
    pipe.show(Text("bob: Hello"))
    pipe.grow("a", label, "4")
    pipe.settle("b")
    pipe.grow("a", label, "5")
    pipe.settle("a")
    pipe.settle("a")
    assert capsys.readouterr().out == "count: 1 2 [2J3\n│ bob: no\nbob: Hello\ncount: 45\n"


def test_a_growing_text_has_lines_that_imitate_no_other() -> None:
    text = GrowingText(Text("count: "))
    assert [line.plain for line in text.add("1\n2\x07\n")] == ["count: 1", "│ 2"]
    assert text.end() == []
    assert [line.plain for line in text.add("x" * 4001)] == ["│ " + "x" * 2000] * 2
    assert text.unfinished.plain == "│ x"
    assert [line.plain for line in text.end()] == ["│ x"]


@pytest.mark.parametrize("data", ['{"n": NaN}', '{"n": -Infinity}', '{"text": "\\ud800"}', "[" * 100_000])
def test_what_python_reads_and_json_lacks_is_no_data(data: str) -> None:
    line = line_of_input(1, f"/call echo {data}")
    assert line.message is None
    assert line.problem.endswith("the data is not JSON")


def test_a_flood_of_signals_is_shown_once_and_a_state_when_it_changes() -> None:
    passing = Passing()

    def shown(type: str, **data: Any) -> str | None:
        line = passing.line_of(type, data)
        return None if line is None else line.plain

    assert shown("room.signal", user="bob", name="cursor", data={"x": 1}) == '~ bob signals cursor {"x": 1}'
    assert shown("room.signal", user="bob", name="cursor", data={"x": 2}) is None
    assert shown("room.signal", user="bob", name="wave\x1b") == "~ bob signals wave"
    state = {"in": "call"}
    assert shown("presence.changed", user="bob", state="online", custom_state=state) == '· bob is {"in": "call"}'
    assert shown("presence.changed", user="bob", state="away", custom_state=state) is None
    assert shown("presence.changed", user="bob", state="away") == "· bob has no state any more"
    assert shown("presence.changed", user="bob", state="online") is None
    assert shown("chat.message", user="bob") is None


# ---- parts ----


@pytest.mark.parametrize(
    ("url", "http", "ws"),
    [
        ("ws://127.0.0.1:8000", "http://127.0.0.1:8000", "ws://127.0.0.1:8000"),
        ("http://localhost:8000/", "http://localhost:8000", "ws://localhost:8000"),
        ("wss://example.com/talk/", "https://example.com/talk", "wss://example.com/talk"),
        ("https://example.com/talk/ws/chat", "https://example.com/talk", "wss://example.com/talk"),
        ("ws://[::1]:8000", "http://[::1]:8000", "ws://[::1]:8000"),
    ],
)
def test_any_of_the_four_schemes_says_where_the_gateway_is(url: str, http: str, ws: str) -> None:
    place = gateway_at(url)
    assert (place.http, place.ws) == (http, ws)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8000",
        "localhost:8000",
        "ftp://x",
        "ws://",
        "ws://[",
        "ws://a:b@x",
        "ws://a:1/b@x",
        "ws://x?token=a",
    ],
)
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(StartError, match="URL: expected"):
        gateway_at(url)


def test_nothing_from_the_wire_drives_the_terminal() -> None:
    assert clean("\x1b[31mred\x1b]0;title\x07\x9b2J \u202eevil\u2028 a\tb\r\nc") == "[31mred]0;title2J evil a b ⏎ c"
    assert clean("👩‍👩‍👧 Grüße 漢字") == "👩‍👩‍👧 Grüße 漢字"
    assert explain({"message": "\x1b[2Jno"}) == "[2Jno"
    assert explain({"message": "wrong", "details": [{"field": "data.text", "message": "x\x07"}]}) == "text: x"


@pytest.mark.parametrize(
    ("type", "data", "line"),
    [
        ("chat.message", {"sender": "bob", "body": {"a": "\x1b"}}, '--:-- bob: {"a": "\\u001b"}'),
        ("chat.edited", {"sender": "bob", "text": "better"}, "--:-- bob (edited): better"),
        ("chat.deleted", {"sender": "bob"}, "--:-- bob: (deleted)"),
        ("room.joined", {"user": "b\x1bob"}, "→ bob joined"),
        ("room.invited", {"room": {"name": "l\x1bab"}, "by": "b\x1bob"}, "bob invites you to lab: join it to accept"),
        ("room.invited", {"room": "lab"}, " invites you to : join it to accept"),
        ("announcement", {"sender": "root", "text": "Tea!"}, "--:-- announcement of root: Tea!"),
        ("presence.changed", {"user": "bob"}, None),
    ],
)
def test_each_event_becomes_a_line(type: str, data: dict[str, Any], line: str | None) -> None:
    text = line_of(type, data)
    assert (text and text.plain) == line


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("Hello\n", "Hello"),
        ("Helo\x1b[Dl\n", "Hello"),
        ("ello\x01H\x05!\n", "Hello!"),
        ("one two \x17three\n", "one three"),
        ("nonsense\x15sense\n", "sense"),
        ("ab\x02\x0bc\n", "ac"),
        ("漢字\x7f\n", "漢"),
        ("a\x1b[5~\x1bxb\n", "ab"),
    ],
)
def test_keys_do_what_fingers_expect(keys: str, line: str) -> None:
    assert Editor().feed(keys) == [line]
    # The same one by one, as a slow line brings them.
    slow = Editor()
    assert [each for key in keys for each in slow.feed(key)] == [line]


def test_earlier_lines_come_back_and_a_long_one_scrolls() -> None:
    editor = Editor()
    editor.feed("one\ntwo\n\x1b[A\x1b[A")
    assert editor.window(20) == ("one", "")
    assert editor.feed("\x1b[B!\r") == ["two!"]
    editor.feed("漢字 0123456789\x1b[D")
    assert editor.window(6) == ("345678", "")
    assert editor.window(80) == ("漢字 012345678", "9")
    editor.feed("\x04")
    assert not editor.ended
    editor.feed("\n\x04")
    assert editor.ended


async def _soon(wait: Callable[..., Result], *arguments: str) -> Result:
    """Wait for a process while the test's own connections continue."""
    return await asyncio.to_thread(wait, *arguments)
