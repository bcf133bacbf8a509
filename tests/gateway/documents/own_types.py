"""The types of an application that makes life hard for documents: each kind of schema and of name that there is."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Annotated, Any, ClassVar, Generic, Literal, NotRequired, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, RootModel, model_validator
from pydantic.json_schema import JsonSchemaValue, SkipJsonSchema
from pydantic_core import CoreSchema
from typing_extensions import TypedDict

from handlers import Chunk, Reply
from handlers.base import MsgHandler
from handlers.errors import AppError
from handlers.registry import Registry
from schemas.base import Empty, Event, Wire
from schemas.rules import exactly_one, with_rules


class Tree(Wire):
    """A tree, which has trees."""

    name: str
    children: "list[Tree]" = Field(default=[])
    parent: "Tree | None" = None


class PlantHandler(MsgHandler[Tree, Tree]):
    """Plants a tree."""

    schema = Tree
    examples = ({"name": "oak", "children": [{"name": "twig"}]},)

    async def handle(self, data: Tree) -> Tree:
        return data


class Cat(Wire):
    kind: Literal["cat"]
    lives: int = 9


class Dog(Wire):
    kind: Literal["dog"]
    tricks: list[str] = Field(default=[])


class Zoo(Wire):
    """Animals of two kinds."""

    first: Annotated[Cat | Dog, Field(discriminator="kind")]
    others: list[Cat | Dog | str | None] = Field(default=[])


class ZooHandler(MsgHandler[Zoo, Zoo]):
    """Opens a zoo."""

    schema = Zoo
    examples = ({"first": {"kind": "cat"}, "others": [{"kind": "dog", "tricks": ["sit"]}, "snake", None]},)

    async def handle(self, data: Zoo) -> Zoo:
        return data


class Colour(Enum):
    """A colour of a lamp."""

    RED = "red"
    GREEN = "green"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Point(TypedDict):
    """A place of a lamp."""

    x: int
    y: int
    note: NotRequired[str | None]


@dataclass
class Size:
    """A size of a lamp."""

    width: float
    depth: float | None = None


class Odd(BaseModel):
    """Every kind of field. A `*/` in a text ends no comment."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    anything: Any
    pair: tuple[int, str] = (1, "a")
    row: tuple[int, ...] = ()
    numbers: dict[str, int] = {}
    colour: Colour = Colour.RED
    level: Level = Level.LOW
    always: Literal["yes"] = "yes"
    one_of: Literal["a", 1, True, None] = None
    maybe: float | None = None
    point: Point | None = None
    size: Size | None = None
    function: Annotated[int, Field(alias="function")] = 0
    dashed: Annotated[str, Field(alias="with-dash")] = ""
    unicode: Annotated[str, Field(alias="größe")] = ""
    quoted: Annotated[str, Field(alias='with "quotes" \\')] = ""
    unsayable: SkipJsonSchema[None] = None
    thing: range | None = None


class OddHandler(MsgHandler[Odd, Odd]):
    """Takes anything."""

    schema = Odd
    examples = ({"anything": {"x": [1, None]}},)

    async def handle(self, data: Odd) -> Odd:
        return data


Item = TypeVar("Item")


class Page(Wire, Generic[Item]):
    """A page of anything."""

    items: tuple[Item, ...]
    next: str | None = None


class PageHandler(MsgHandler[Empty, Page[Tree]]):
    """Returns a page of trees."""

    schema = Empty

    async def handle(self, data: Empty) -> Page[Tree]:
        return Page(items=(Tree(name="oak"),))


class Numbers(RootModel[list[int]]):
    """Numbers, without an object around them."""


class SumHandler(MsgHandler[Numbers, RootModel[int]]):
    """Adds numbers."""

    schema = Numbers
    examples = ([1, 2],)

    async def handle(self, data: Numbers) -> RootModel[int]:
        return RootModel[int](sum(data.root))


class Pay(Wire):
    """Pay with a card or with cash."""

    card: str | None = None
    cash: int | None = None
    currency: Literal["EUR", "CHF"] = "EUR"

    @model_validator(mode="after")
    def _one(self) -> "Pay":
        if (self.card is None) == (self.cash is None):
            raise ValueError("expected either `card` or `cash`")
        return self

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"card": "1234"}],
            "oneOf": [
                {"required": ["card"], "properties": {"card": {"type": "string"}, "cash": {"type": "null"}}},
                {"required": ["cash"], "properties": {"cash": {"type": "integer"}, "card": {"type": "null"}}},
            ],
        }
    )


class PayHandler(MsgHandler[Pay, Empty]):
    """Pays."""

    schema = Pay

    async def handle(self, data: Pay) -> Empty:
        return Empty()


class Refund(Wire):
    """Pay back to a card or in cash, as docs/extending.md writes such a rule."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"cash": 20}]})

    card: str | None = None
    cash: int | None = None

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        found = super().__get_pydantic_json_schema__(schema, handler)
        return with_rules(found, handler, exactly_one("card", "cash"))


class RefundHandler(MsgHandler[Refund, Empty]):
    """Pays back."""

    schema = Refund

    async def handle(self, data: Refund) -> Empty:
        return Empty()


class Told(Wire):
    """The length of a story."""

    words: int


class TellHandler(MsgHandler[Empty, Told]):
    """Streams a story."""

    schema = Empty

    async def handle(self, data: Empty) -> AsyncIterator[str | Tree | Reply]:
        yield "Once "
        yield Reply(Told(words=1))


class AnyHandler(MsgHandler):  # type: ignore[type-arg]
    schema = Empty

    async def handle(self, data):  # type: ignore[no-untyped-def]
        return Empty()


class AnyStreamHandler(MsgHandler[Empty, Empty]):
    """Streams anything."""

    schema = Empty

    async def handle(self, data: Empty) -> AsyncIterator[Chunk]:
        yield 1


class MärchenErzählt(Event):
    """A user has ended a story. Its class has letters that are not ASCII."""

    type: ClassVar[str] = "story-told"
    examples: ClassVar[tuple[Any, ...]] = ({"title": "Fox", "pages": 3},)

    title: str
    pages: int | str
    tree: Tree | None = None


class Room(Event):
    """An event with the name of a type that the gateway has."""

    type: ClassVar[str] = "hotel.room"

    number: int


class SoldOut(AppError):
    """Nothing is left."""

    status = 60001
    examples = ("no tickets are left",)


class NoCat(AppError):
    """There is no cat."""

    status = 60002
    http_status = 404
    retryable = True


OWN = Registry(
    handlers={
        "tree.plant": PlantHandler,
        "zoo.open": ZooHandler,
        "odd-one": OddHandler,
        "odd_one": OddHandler,
        "größe/ü": PageHandler,
        "数": SumHandler,
        "pay": PayHandler,
        "pay.back": RefundHandler,
        "story.tell": TellHandler,
        "class": AnyHandler,
        "2nd": AnyStreamHandler,
        'a "quoted" \\ type': AnyHandler,
        "__proto__": AnyHandler,
    },
    events=(MärchenErzählt, Room),
    errors=(SoldOut, NoCat),
)
