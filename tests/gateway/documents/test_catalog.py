"""The catalog has everything that documents say, also of an application's own types."""

from typing import Any, ClassVar

import pytest

from gateway.documents.catalog import Catalog, catalog_of
from handlers.base import MsgHandler
from handlers.errors import AppError
from handlers.registry import BUILT_IN, HANDLERS, Registry
from schemas.base import Event, Wire
from schemas.codes import Close, Status


class Roll(Wire):
    """Roll dice."""

    sides: int


class Rolled(Wire):
    """What came up."""

    value: int


class RollHandler(MsgHandler[Roll, Rolled]):
    """Rolls dice.

    Each side comes as often as another.
    """

    schema = Roll
    scope = "dice:roll"
    examples = ({"sides": 6},)

    async def handle(self, data: Roll) -> Rolled:
        return Rolled(value=1)


class DiceRolled(Event):
    """A user has rolled dice."""

    type: ClassVar[str] = "dice.rolled"
    examples: ClassVar[tuple[Any, ...]] = ({"value": 4},)

    value: int


class NoDice(AppError):
    """There are no dice."""

    status = 60001
    examples = ("all dice are in use",)


OWN = Registry(handlers={"dice.roll": RollHandler}, events=(DiceRolled,), errors=(NoDice,))


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return catalog_of(BUILT_IN | OWN)


def test_each_message_event_status_and_close_code_is_there_once(catalog: Catalog) -> None:
    assert [each.type for each in catalog.messages] == [*HANDLERS, "dice.roll"]
    assert [each.type for each in catalog.events] == [*(event.type for event in BUILT_IN.events), "dice.rolled"]
    assert [each.status for each in catalog.statuses] == list(Status)
    assert [(each.code, each.reason) for each in catalog.closes] == [(each.code, each.reason) for each in Close]


def test_an_application_s_own_types_are_described_as_the_built_in_ones(catalog: Catalog) -> None:
    roll = catalog.messages[-1]
    assert (roll.summary, roll.about, roll.scope) == (
        "Rolls dice.",
        "Each side comes as often as another.",
        "dice:roll",
    )
    assert (roll.data, roll.reply) == (
        {"$ref": "#/components/schemas/Roll"},
        {"$ref": "#/components/schemas/Rolled"},
    )
    assert (roll.examples, roll.reply_examples) == (({"sides": 6},), ({"value": 0},))
    assert catalog.events[-1].examples == ({"value": 4},)
    [error] = catalog.errors
    assert (error.status, error.name, error.summary) == (60001, "no_dice", "There are no dice.")
    assert [each["message"] for each in error.examples] == ["all dice are in use"]


def test_each_schema_has_a_reference_with_any_prefix(catalog: Catalog) -> None:
    schemas = catalog.schemas_at("#/$defs/")
    assert schemas["SendReply"]["properties"]["message"] == {"$ref": "#/$defs/Message"}
    assert schemas.keys() == catalog.schemas.keys()
