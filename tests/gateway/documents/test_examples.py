"""The gateway accepts the examples that the page at `/` offers."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from gateway.documents.catalog import catalog_of
from gateway.documents.examples import example_of, example_of_schema, examples
from handlers.base import MsgHandler
from handlers.registry import BUILT_IN, HANDLERS, Registry
from schemas.base import Wire
from tests.conftest import OwnGateway
from tests.support.client import App


@pytest.mark.parametrize("example", examples(BUILT_IN), ids=lambda example: example.type)
def test_every_example_is_valid(example: Any) -> None:
    assert example.about
    HANDLERS[example.type].schema.model_validate(example.data)


class Seat(BaseModel):
    row: Annotated[int, Field(gt=3)]
    letter: Literal["B", "C"]


class Booking(Wire):
    """Book seats."""

    seats: list[Seat] = Field(min_length=2)
    name: str = Field(min_length=6)
    price: float = Field(ge=0.5)
    discount: float = Field(lt=0)
    paid: bool
    note: str | None
    again: "Booking | None" = None


class Said(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [{"x": 7}]})

    x: int


class Endless(BaseModel):
    inner: "Endless"


class Unwritable(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    thing: object
    other: type[Any] | range


@pytest.mark.parametrize("schema", [Booking, Said])
def test_a_schema_of_ones_own_is_filled_in(schema: type[BaseModel]) -> None:
    schema.model_validate(example_of(schema))


@pytest.mark.parametrize("schema", [Endless, Unwritable])
def test_a_schema_that_cannot_be_filled_in_still_has_an_example(schema: type[BaseModel]) -> None:
    assert isinstance(example_of(schema), dict)


def test_a_schema_that_asks_for_much_has_a_short_example() -> None:
    wide: dict[str, Any] = {"type": "integer"}
    for _ in range(6):
        names = [f"f{number}" for number in range(50)]
        wide = {"type": "object", "properties": dict.fromkeys(names, wide), "required": names}
    assert len(str(example_of_schema(wide))) < 500_000
    many = {"type": "array", "items": {"type": "string", "minLength": 10**12}, "minItems": 10**12}
    assert len(example_of_schema(many)) == 100


async def test_the_examples_are_for_development_only(own_gateway: OwnGateway) -> None:
    class Book(MsgHandler[Said, Said]):
        """Books a seat."""

        schema = Said

        async def handle(self, data: Said) -> Said:
            return data

    async with App(own_gateway(registry={**HANDLERS, "seat.book": Book})) as app:
        found = (await app.http.get("/examples.json")).json()
        assert [each["type"] for each in found] == [*HANDLERS, "seat.book"]
        assert found[-1] == {"type": "seat.book", "about": "Books a seat.", "data": {"x": 7}}
    production = {"environment": "production", "secret_key": "k7Q2mZx9Lr4Vb8Wn3Tc6Yd1Hs5Jp0Gf=", "password_rounds": 10}
    async with App(own_gateway(**production)) as app:
        assert (await app.http.get("/examples.json")).status_code == 404


class When(Wire):
    """A point in time."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"at": float("nan")}]})
    at: str = Field(examples=["today"])


class WhenHandler(MsgHandler[When, When]):
    """Sends it back."""

    schema = When

    async def handle(self, data: When) -> When:
        return data


def test_an_example_that_json_does_not_hold_is_left_out() -> None:
    (message,) = catalog_of(Registry(handlers={"when": WhenHandler})).messages
    assert message.examples == message.reply_examples == ({"at": "today"},)
