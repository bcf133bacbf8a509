"""Questions of an operator to all nodes: the process that is asked passes them on, and returns all answers.

    async def count(_: Nothing) -> Data:
        return {"connections": connections.count}

    all_nodes.serve("count", Nothing, count)

The answer has the answers by the id of the node, and the ids of the nodes that did not answer in time. A process that
the bus does not reach can be asked by itself, with `only_here`.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from gateway.bus.base import MessageTooLong
from gateway.cluster.node_calls import NodeCalls, NodeFailed, NodeUnavailable
from gateway.core.local_socket import Data, LocalFailed, LocalSocket
from gateway.operating.asking import user_name

SECONDS = 3.0
"""How long a node has for its answer. A look at a store that hangs takes two seconds of it."""
ONLY_HERE = "only_here"


class Question(BaseModel):
    """The data of a question. A process of another version may send more or less, and learns that in words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: str = ""
    """The user that asks. The process that is asked sets it, and no question can change it."""


class Nothing(Question):
    """A question that needs no data."""


Asked = TypeVar("Asked", bound=Question)
Note = Callable[[Any, dict[str, Data]], None]
"""A function that records a question and the answers of the nodes."""


class AllNodes:
    """Passes the questions of operators to all nodes."""

    def __init__(self, local_socket: LocalSocket, node_calls: NodeCalls) -> None:
        self._local_socket = local_socket
        self._node_calls = node_calls

    def serve(
        self,
        name: str,
        kind: type[Asked],
        answer: Callable[[Asked], Awaitable[Data]],
        *,
        check: Callable[[Asked], Awaitable[None]] | None = None,
        note: Note | None = None,
    ) -> None:
        """Answer a question on each node. The process that is asked calls `check` before, and `note` at the end."""
        kind_of_call = f"operator.{name}"

        async def here(data: Data) -> Data:
            try:
                asked = parsed(kind, data)
            except LocalFailed as error:  # of a node of another version
                raise NodeFailed(str(error)) from None
            return await answer(asked)

        async def on_all(data: Data) -> Data:
            only_here = data.pop(ONLY_HERE, False) is True
            asked = parsed(kind, data | {"by": user_name()})
            if check is not None:
                await check(asked)
            found = await self._ask(kind_of_call, asked.model_dump(), only_here=only_here)
            if note is not None:
                note(asked, found["nodes"])
            return found

        self._node_calls.serve(kind_of_call, here)
        self._local_socket.serve(name, on_all)

    async def _ask(self, kind: str, data: Data, *, only_here: bool) -> Data:
        calls = self._node_calls
        expected = {calls.own_id} if only_here else calls.others | {calls.own_id}
        try:
            if only_here:
                answers = {calls.own_id: await calls.ask(calls.own_id, kind, data, SECONDS)}
            else:
                answers = await calls.ask_all(kind, data, SECONDS)
        except NodeUnavailable:
            answers = {}
        except MessageTooLong as error:
            raise LocalFailed(str(error)) from None
        return {"nodes": answers, "missing": sorted(expected - answers.keys())}


def total(nodes: dict[str, Data], name: str) -> int:
    """Return the sum of a number. A node of another version may have answered without it."""
    return sum(number for each in nodes.values() if isinstance(number := each.get(name), int))


def parsed(kind: type[Asked], data: Data) -> Asked:
    """Return the data of a question, or raise `LocalFailed`."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise LocalFailed(f"{where or 'data'}: {first['msg']}") from None
