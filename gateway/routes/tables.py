"""The tables of the routes file, with the form of each key.

The description of a key completes the sentence `expected …`. What depends on other keys, on the gateway's own types or
on the environment is checked in `checker`.
"""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from gateway.core.room_patterns import RoomPatterns
from gateway.routes import urls
from gateway.routes.model import Action, Effect, EventType, Format
from gateway.routes.signatures import MAX_SECRETS
from schemas.names import ScopeName
from schemas.services import ServiceName


def _list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _url(value: str) -> str:
    try:
        urls.parse(value)
    except ValueError as error:
        raise PydanticCustomError("url", "{problem}", {"problem": str(error)}) from None
    return value


def _rooms(value: tuple[str, ...]) -> tuple[str, ...]:
    try:
        RoomPatterns.parse(value)
    except ValueError as error:
        raise PydanticCustomError("rooms", "{problem}", {"problem": str(error)}) from None
    return value


def _once(value: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(value)) != len(value):
        raise PydanticCustomError("twice", "expected each value once; leave out those that come again")
    return value


Word = Annotated[str, Field(pattern=r"\A[A-Za-z0-9_.:/-]{1,64}\z")]
UrlText = Annotated[str, AfterValidator(_url)]
Secret = Annotated[tuple[str, ...], BeforeValidator(_list), Field(strict=False, min_length=1, max_length=MAX_SECRETS)]
Claims = Annotated[tuple[Word, ...], AfterValidator(_once), Field(strict=False, max_length=32)]
Rooms = Annotated[tuple[str, ...], AfterValidator(_rooms), Field(strict=False, min_length=1, max_length=100)]
Path = Annotated[str, Field(min_length=1, max_length=1024)]

URL = Field(description="a URL in quotes, such as http://127.0.0.1:9000/orders")
SECRET = Field(description="a secret such as whsec_… or env:NAME, or a list of two while one replaces the other")
CLAIMS = Field(description='a list of at most 32 names of claims, such as ["email"]')
ROOMS = Field(description='a list of 1 to 100 patterns, such as ["order-*"]')
SCHEMA = Field(description="a JSON Schema as a table")
SCHEMA_FILE = Field(description="the path of a file with a JSON Schema")
SWITCH = Field(description="true or false")


class Table(BaseModel):
    """The base of all tables: no unknown keys, and no conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class RouteTable(Table):
    """`[routes."orders.*"]`."""

    url: Annotated[UrlText | None, URL] = None
    worker: Annotated[bool, Field(description="true, for a route that workers serve")] = False
    secret: Annotated[Secret | None, SECRET] = None
    plain_http: Annotated[bool, SWITCH] = False
    service: Annotated[ServiceName | None, Field(description="the name of a service account, such as orders")] = None
    timeout_seconds: Annotated[float, Field(ge=0.05, le=60, description="a number of seconds from 0.05 to 60")] = 5
    parallel: Annotated[int, Field(ge=1, le=10_000, description="a whole number from 1 to 10000")] = 64
    scope: Annotated[ScopeName | None, Field(description="the name of a scope, such as orders:write")] = None
    rate: Annotated[float, Field(ge=0, le=10_000, description="a number from 0 to 10000")] = 0
    idempotent: Annotated[bool, SWITCH] = False
    ordered: Annotated[bool, SWITCH] = False
    claims: Annotated[Claims, CLAIMS] = ()
    data: Annotated[dict[str, Any] | None, SCHEMA] = None
    data_file: Annotated[Path | None, SCHEMA_FILE] = None
    reply: Annotated[dict[str, Any] | None, SCHEMA] = None
    reply_file: Annotated[Path | None, SCHEMA_FILE] = None
    effects: Annotated[
        tuple[Effect, ...],
        AfterValidator(_once),
        Field(strict=False, description='a list of "publish", "join", "leave" and "disconnect"'),
    ] = ()
    rooms: Annotated[Rooms | None, ROOMS] = None


class DestinationTable(Table):
    """A table that always has a URL, and so a secret."""

    url: Annotated[UrlText, URL]
    secret: Annotated[Secret, SECRET]
    plain_http: Annotated[bool, SWITCH] = False


class HookTable(DestinationTable):
    """`[hooks.push]`."""

    types: Annotated[
        tuple[EventType, ...],
        AfterValidator(_once),
        Field(
            strict=False,
            min_length=1,
            description='a list of "user.connected", "user.offline", "room.occupied", "room.vacated",'
            ' "message.stored" and "message.unseen"',
        ),
    ]
    format: Annotated[Format, Field(description='"webhook" or "cloudevents"')] = "webhook"
    unseen_seconds: Annotated[float, Field(ge=1, le=604_800, description="a number of seconds from 1 to 604800")] = 30
    rooms: Annotated[Rooms, ROOMS] = ("*",)


class AuthorizeTable(DestinationTable):
    """`[authorize]`."""

    actions: Annotated[
        tuple[Action, ...],
        AfterValidator(_once),
        Field(strict=False, min_length=1, description='a list of "join", "send" and "create"'),
    ] = ("join", "send", "create")
    rooms: Annotated[Rooms, ROOMS] = ("*",)
    claims: Annotated[Claims, CLAIMS] = ()
    timeout_seconds: Annotated[float, Field(ge=0.05, le=10, description="a number of seconds from 0.05 to 10")] = 1
