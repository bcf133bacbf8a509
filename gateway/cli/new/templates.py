"""What is in the files of a new message type: something small that works, to begin with."""

import re
from dataclasses import dataclass
from keyword import iskeyword

from gateway.core.start_error import StartError
from schemas.base import MAX_TYPE_LENGTH

_TYPE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
LINE = 88
"""Characters of a line that each formatter leaves alone."""


@dataclass(frozen=True)
class Message:
    """The names of a new message type."""

    type: str

    def __post_init__(self) -> None:
        # Of `msg`, the handler would have the name of its base.
        if not _TYPE.fullmatch(self.type) or iskeyword(self.module) or self.type == "msg":
            raise StartError(
                "NAME: expected lower-case words of letters, digits and _, with dots between them, such as poll.vote,"
                f" got {self.type!r}"
            )
        if len(self.type) > MAX_TYPE_LENGTH:
            raise StartError(f"NAME: expected at most {MAX_TYPE_LENGTH} characters, got {len(self.type)}")

    @property
    def module(self) -> str:
        """Return the name of its modules."""
        return self.type.replace(".", "_")

    @property
    def data(self) -> str:
        """Return the name of the class of its data."""
        return f"{self._words}Data"

    @property
    def reply(self) -> str:
        """Return the name of the class of its reply."""
        return f"{self._words}Reply"

    @property
    def handler(self) -> str:
        """Return the name of its handler."""
        return f"{self._words}Handler"

    @property
    def _words(self) -> str:
        return "".join(word.capitalize() for word in re.split(r"[._]", self.type))


def import_line(module: str, *names: str) -> str:
    """Return an import in the form that formatters keep."""
    line = f"from {module} import {', '.join(sorted(names))}\n"
    if len(line) <= LINE:
        return line
    return f"from {module} import (\n" + "".join(f"    {name},\n" for name in sorted(names)) + ")\n"


def _gap_in_sources(schema_module: str) -> str:
    """Return the empty line before the gateway's own packages, which only its sources sort apart from all others."""
    return "\n" if schema_module.startswith("schemas.") else ""


def schema(message: Message, schema_module: str) -> str:
    """Return the module of the data and the reply."""
    return f'''"""The data and the reply of `{message.type}`."""

from pydantic import Field
{_gap_in_sources(schema_module)}from schemas.base import Wire


class {message.data}(Wire):
    """What the client sends."""

    text: str = Field(min_length=1, max_length=200)


class {message.reply}(Wire):
    """What the client gets."""

    text: str
    sender: str
'''


def handler(message: Message, schema_module: str) -> str:
    """Return the module of the handler."""
    imports = import_line(schema_module, message.data, message.reply)
    gap = "" if _gap_in_sources(schema_module) else "\n"
    return f'''"""The handler of `{message.type}`."""

from handlers.base import MsgHandler
{gap}{imports}

class {message.handler}(MsgHandler[{message.data}, {message.reply}]):
    """Sends the text back."""

    schema = {message.data}
    examples = ({{"text": "Hello"}},)

    async def handle(self, data: {message.data}) -> {message.reply}:
        """Return the text, and the user that sent it."""
        return {message.reply}(text=data.text, sender=self.session.user)
'''


def unit_test(message: Message, handler_module: str, schema_module: str) -> str:
    """Return a test without a server."""
    return f'''"""`{message.type}`, without a server."""

import asyncio

from gateway.testing import FakeSession

{import_line(handler_module, message.handler)}{import_line(schema_module, message.reply)}

def test_the_text_comes_back() -> None:
    session = FakeSession(user="alice")
    asyncio.run(session.run({message.handler}, {{"text": "Hello"}}))
    reply = {message.reply}(text="Hello", sender="alice")
    assert session.replies == [(1, reply)]


def test_an_empty_text_is_refused() -> None:
    session = FakeSession(user="alice")
    asyncio.run(session.run({message.handler}, {{"text": ""}}))
    [(_, error)] = session.refusals
    assert error.status == 42200
'''


def socket_test(message: Message) -> str:
    """Return a test over a socket, as the gateway's own tests are."""
    return f'''"""`{message.type}`."""

from tests.support.client import App


async def test_the_text_comes_back(app: App, alice: str) -> None:
    async with app.connect(alice) as client:
        reply = await client.ask("{message.type}", text="Hello")
        assert reply == {{"text": "Hello", "sender": alice}}
        assert (await client.refused("{message.type}", text=""))["status"] == 42200
'''
