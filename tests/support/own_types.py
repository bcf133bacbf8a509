"""An application with types of its own, among them odd ones, for the tests of documents."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from handlers import Reply
from handlers.base import MsgHandler
from handlers.errors import AppError
from handlers.registry import BUILT_IN, Registry
from schemas.base import Event, Wire

HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)> `</code>` [click](javascript:alert(3)) 😈 &amp;"
)
LONG = "Long words. " * 10_000


class Roll(Wire):
    """Roll dice."""

    sides: int = Field(ge=2, le=100, description="How many sides each of the dice has.")


class Rolled(Wire):
    """What came up."""

    value: int


class RollHandler(MsgHandler[Roll, Rolled]):
    """Rolls dice.

    Each side comes *as often* as another:

    - `1` of `sides`
    - **never** zero

    [Where this is from](https://example.org/dice).
    """

    schema = Roll
    scope = "dice:roll"
    examples = ({"sides": 6},)

    async def handle(self, data: Roll) -> Rolled:
        return Rolled(value=data.sides)


class Tree(Wire):
    """A tree of trees."""

    name: str
    branches: tuple["Tree", ...] = ()
    parent: "Tree | None" = None


class PlantHandler(MsgHandler[Tree, Tree]):
    """Plants a tree."""

    schema = Tree
    ordered = False

    async def handle(self, data: Tree) -> Tree:
        return data


class Circle(Wire):
    kind: Literal["circle"]
    radius: float


class Square(Wire):
    kind: Literal["square"]
    side: float


class Drawing(Wire):
    """A shape of two kinds, and anything beside."""

    shape: Annotated[Circle | Square, Field(discriminator="kind")]
    either: int | list[str] | None
    cells: tuple[int | str | None, ...] = ()
    pair: tuple[int, str] = (1, "a")
    anything: Any = None
    by_name: dict[str, Circle] | None = None


class DrawHandler(MsgHandler[Drawing, Any]):
    """Draws."""

    schema = Drawing
    examples = (
        {
            "shape": {"kind": "circle", "radius": 1.5},
            "either": ["a"],
            "by_name": {"$ref": {"kind": "circle", "radius": 1}},
        },
    )

    async def handle(self, data: Drawing) -> Any:
        return data


class Unwritable(BaseModel):
    """No JSON Schema says what this takes."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    thing: range


class UnwritableHandler(MsgHandler[Unwritable, Unwritable]):
    schema = Unwritable

    async def handle(self, data: Unwritable) -> Unwritable:
        return data


class Text(Wire):
    """A text with a name that is a word of JSON Schema."""

    text: str
    schema_: Any = Field(default=None, alias="schema")
    ref: str = Field(default="", alias="$ref")


class HostileHandler(MsgHandler[Text, Text]):
    schema = Text
    examples = ({"text": HOSTILE}, {"text": "x", "$ref": "#/nowhere"}, {"text": LONG})

    async def handle(self, data: Text) -> Text:
        return data


HostileHandler.__doc__ = f"{HOSTILE}\n\n{HOSTILE}\n\n{LONG}"


NONSENSE: Any = {"oneOf": [{"properties": 3}], "required": 7, "x": {1, 2}, "minimum": float("nan")}


class Nonsense(Wire):
    """A model with a JSON Schema that is none."""

    model_config = ConfigDict(json_schema_extra=NONSENSE)

    text: str = "x"


class NonsenseHandler(MsgHandler[Nonsense, Nonsense]):
    """Takes nonsense."""

    schema = Nonsense

    async def handle(self, data: Nonsense) -> Nonsense:
        return data


class Line(Wire):
    """A line of a report."""

    text: str


class Report(Wire):
    """The end of a report."""

    lines: int


class ReportHandler(MsgHandler[Roll, Report]):
    """Writes a report, line by line."""

    schema = Roll

    async def handle(self, data: Roll) -> AsyncIterator[Line | str | Reply]:
        yield "Report"


class DiceRolled(Event):
    """A user has rolled dice."""

    type: ClassVar[str] = "dice.rolled"
    examples: ClassVar[tuple[Any, ...]] = ({"value": 4},)

    value: int


class Strange(Event):
    type: ClassVar[str] = "</script>"

    value: Any = None


Strange.__doc__ = HOSTILE


class NoDice(AppError):
    """There are no dice."""

    status = 60001
    examples = ("all dice are in use", HOSTILE)


OWN = BUILT_IN | Registry(
    handlers={
        "dice.roll": RollHandler,
        "tree.plant": PlantHandler,
        "shape.draw-it": DrawHandler,
        "shape.draw_it": DrawHandler,
        "投票.送る": PlantHandler,
        "a/b ü~1%25#?": UnwritableHandler,
        "</script>.<b>": HostileHandler,
        "report": ReportHandler,
        "message": PlantHandler,
        "nonsense": NonsenseHandler,
    },
    events=(DiceRolled, Strange),
    errors=(NoDice,),
)
"""The gateway's own types and these."""
