"""The registry: its refusals, in one line with the place, and its effect on clients."""

from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import Field

from gateway.app import create_app
from gateway.testing import settings_for_tests
from handlers.base import MsgHandler
from handlers.errors import AppError, MessageError
from handlers.registry import BUILT_IN, HANDLERS, Registry
from schemas.base import DefinitionError, Empty, Event, Wire
from schemas.events import chat, presence, rooms, system
from tests.conftest import OwnGateway
from tests.support.client import App


class Vote(Wire):
    """A vote in a poll."""

    choice: int = Field(ge=1)
    others: tuple[int, ...] = ()


class VoteHandler(MsgHandler[Vote, Empty]):
    """Count a vote."""

    schema = Vote
    examples = ({"choice": 2}, {"choice": 1})

    async def handle(self, data: Vote) -> Empty:
        raise PollClosed("the poll has ended")


class OtherVoteHandler(VoteHandler):
    """Another handler, for the same type."""


class Voted(Event):
    """A vote was counted."""

    type: ClassVar[str] = "poll.voted"
    examples: ClassVar[tuple[Any, ...]] = ({"choice": 2, "others": [1, 3]},)

    choice: int
    others: tuple[int, ...] = ()


class VotedToo(Event):
    """Another event of the same type."""

    type: ClassVar[str] = "poll.voted"


class PollClosed(AppError):
    """The poll has ended."""

    status = 60001
    name = "poll_closed"
    examples = ("the poll has ended",)


class PollEnded(AppError):
    """Another error with the same status."""

    status = 60001


class PollIsClosed(AppError):
    """Another error with the same name."""

    status = 60002
    name = "poll_closed"


class NoStatus(AppError):
    """An error that forgot its status."""


POLL = Registry(handlers={"poll.vote": VoteHandler}, events=(Voted,), errors=(PollClosed,))
HERE = __name__.replace(".", r"\.")


def test_registries_are_merged_and_the_same_class_may_come_twice() -> None:
    both = BUILT_IN | POLL | POLL
    assert [*both.handlers] == [*HANDLERS, "poll.vote"]
    assert both.events == (*BUILT_IN.events, Voted)
    assert both.errors == (PollClosed,)


def test_the_built_in_registry_has_every_event() -> None:
    defined = {
        found
        for module in (chat, presence, rooms, system)
        for found in vars(module).values()
        if isinstance(found, type) and issubclass(found, Event) and found is not Event
    }
    assert set(BUILT_IN.events) == defined


@pytest.mark.parametrize(
    ("mine", "both"),
    [
        (Registry(handlers={"poll.vote": OtherVoteHandler}), (VoteHandler, OtherVoteHandler)),
        (Registry(events=(VotedToo,)), (Voted, VotedToo)),
        (Registry(errors=(PollEnded,)), (PollClosed, PollEnded)),
        (Registry(errors=(PollIsClosed,)), (PollClosed, PollIsClosed)),
    ],
)
def test_a_clash_names_both_places(mine: Registry, both: tuple[type, type]) -> None:
    first, second = (each.__name__ for each in both)
    with pytest.raises(DefinitionError, match=rf"taken twice: by {HERE}\.{first} and by {HERE}\.{second};"):
        BUILT_IN | POLL | mine


def test_a_type_of_the_gateways_own_cannot_be_taken() -> None:
    with pytest.raises(
        DefinitionError, match=rf"'ping' is taken twice: by handlers\.system\.PingHandler and by {HERE}"
    ):
        BUILT_IN | Registry(handlers={"ping": VoteHandler})
    loud = type(
        "Loud", (Event,), {"type": "welcome", "__module__": __name__, "__annotations__": {"type": ClassVar[str]}}
    )
    with pytest.raises(DefinitionError, match=r"'welcome' is taken twice: by schemas\.events\.system\.Welcome"):
        BUILT_IN | Registry(events=(loud,))


def having(kind: type[Any], **changes: Any) -> Any:
    """A class of this kind with other attributes."""
    return type("Odd", (kind,), {"__module__": __name__, **changes})


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"handlers": None}, "expected a mapping"),
        ({"handlers": {"x": Vote}}, "subclass of MsgHandler"),
        ({"events": Voted}, "ends in a comma"),
        ({"events": (Vote,)}, "subclasses of Event with a `type`"),
        ({"events": (Event,)}, "subclasses of Event with a `type`"),
        ({"errors": PollClosed}, "ends in a comma"),
        ({"errors": (MessageError,)}, "subclasses of AppError"),
        ({"errors": (AppError,)}, "NoStatus|errors.AppError.status: expected one of 60000 to 69999, got none"),
        ({"errors": (NoStatus,)}, r"NoStatus\.status: expected one of 60000 to 69999, got none"),
        ({"errors": (PollClosed, PollEnded)}, "the status 60001 is taken twice"),
        ({"errors": (having(PollClosed, examples="the poll"),)}, r"Odd\.examples: expected a tuple"),
        ({"errors": (having(PollClosed, examples=(7,)),)}, r"Odd\.examples\[0\]: expected a text"),
        ({"events": (having(Voted, examples=({},)),)}, r"Odd\.examples\[0\]: .*`data\.choice`: Field required"),
    ],
)
def test_a_registry_that_cannot_be_used_is_refused_in_one_line(parts: dict[str, Any], told: str) -> None:
    with pytest.raises(DefinitionError, match=told) as refused:
        Registry(**parts)
    assert "\n" not in str(refused.value)


class Moody(Wire):
    """A schema that fails in its own way."""

    def model_post_init(self, _: Any) -> None:
        raise KeyError("moody")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"examples": ({"choice": 0},)}, r"Odd\.examples\[0\]: .*`data\.choice`: Input should be greater"),
        ({"examples": ({"choice": 1}, {"choice": "1"})}, r"Odd\.examples\[1\]: .*`data\.choice`"),
        ({"examples": ({"choice": float("nan")},)}, r"Odd\.examples\[0\]: .*ValueError"),
        ({"examples": ({"choice": object()},)}, r"Odd\.examples\[0\]: .*TypeError"),
        ({"examples": {"choice": 1}}, r"Odd\.examples: expected a tuple"),
        ({"examples": ({},), "schema": Moody}, r"Odd\.examples\[0\]: .*KeyError"),
    ],
)
def test_an_example_that_the_gateway_would_refuse_is_refused_at_the_start(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(DefinitionError, match=told):
        Registry(handlers={"poll.vote": having(VoteHandler, **changes)})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"status": 40400}, r"Odd\.status: expected 60000 to 69999, got 40400"),
        ({"status": 59999}, r"Odd\.status: expected 60000 to 69999, got 59999"),
        ({"status": 60003, "name": "not_found"}, r"Odd\.name: expected a name that the gateway itself does not have"),
        ({"status": 60003, "name": "Sold Out"}, r"Odd\.name: expected 1 to 64 lower-case letters"),
        ({"name": ""}, r"Odd\.name: expected 1 to 64 lower-case letters"),
        ({"name": None}, r"Odd\.name: expected 1 to 64 lower-case letters"),
    ],
)
def test_an_error_that_the_protocol_does_not_allow_is_refused_where_it_is_written(
    changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(DefinitionError, match=told):
        having(AppError, **changes)


def test_a_class_with_a_name_of_the_gateways_own_needs_another_name() -> None:
    with pytest.raises(DefinitionError, match="set `name` to another"):
        type("NotFound", (AppError,), {"status": 60003})
    assert vars(type("NotFound", (AppError,), {"status": 60003, "name": "no_seat"}))["name"] == "no_seat"


def test_what_a_base_of_ones_own_says_holds_for_its_errors() -> None:
    class ShopError(AppError):
        """The errors of a shop."""

        status = 60100
        retryable = True
        http_status = 409

    class SoldOut(ShopError):
        """One of them."""

        status = 60101

    assert (SoldOut.name, SoldOut.retryable, SoldOut.http_status) == ("sold_out", True, 409)
    assert having(SoldOut).name == "sold_out"  # one status has one name


def test_create_app_refuses_what_is_neither_a_registry_nor_a_table(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="expected a mapping"):
        create_app(settings_for_tests(tmp_path), registry=[VoteHandler])  # type: ignore[arg-type]


async def test_a_registry_brings_its_messages_errors_and_examples(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(registry=BUILT_IN | POLL)) as app, app.connect("alice") as client:
        error = await client.refused("poll.vote", choice=1)
        assert (error["status"], error["name"], error["message"]) == (60001, "poll_closed", "the poll has ended")
        examples = (await app.http.get("/examples.json")).json()
        assert examples[-1] == {"type": "poll.vote", "about": "Count a vote.", "data": {"choice": 2}}


async def test_a_bare_mapping_is_the_whole_table(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(registry={"poll.vote": VoteHandler})) as app, app.connect("alice") as client:
        assert (await client.refused("poll.vote", choice=1))["status"] == 60001
        assert (await client.refused("ping"))["status"] == 40002
