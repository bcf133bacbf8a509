"""The types of messages, events and errors in TypeScript, for the JavaScript client.

`gateway-client` ships the types of the gateway itself, as this module writes them. An application's types go into the
interfaces `Messages` and `Events` of that package.
"""

from collections.abc import Iterable

from gateway.documents.catalog import (
    Catalog,
    ErrorDescription,
    EventDescription,
    MessageDescription,
    Schema,
    catalog_of,
)
from gateway.documents.place import Files, Place
from gateway.documents.plain import plain
from gateway.documents.typescript_types import TypeScript, comment, indented, text_literal
from handlers.registry import BUILT_IN

NAME = "messages.d.ts"
RESERVED = [f"{owner}{what}" for owner in ("Gateway", "Own") for what in ("Messages", "Events", "Errors")]
"""The names of the maps, which no type may have."""


def typescript(catalog: Catalog, place: Place) -> Files:
    """Return the file with the types."""
    types = TypeScript(catalog.schemas, RESERVED)
    known = catalog_of(BUILT_IN)
    own = Catalog(
        messages=tuple(each for each in catalog.messages if each not in known.messages),
        events=tuple(each for each in catalog.events if each not in known.events),
        errors=catalog.errors,
        statuses=(),
        closes=(),
        error=catalog.error,
        schemas={},
    )
    messages = [each for each in catalog.messages if each not in own.messages]
    events = [each for each in catalog.events if each not in own.events]
    maps = [
        _messages(types, "GatewayMessages", "The gateway's own messages, by type.", messages),
        _events(types, "GatewayEvents", "The data of the gateway's own events, by type.", events),
        _errors("GatewayErrors", "The statuses of the gateway's own errors, by name.", catalog.statuses[1:]),
    ]
    if own.messages or own.events or own.errors:
        maps += _own(types, own)
    head = "// Types of messages and events, as `gateway export typescript` writes them. Change nothing here."
    text = "\n\n".join([head, *types.declarations(), *maps]) + "\n"
    return {NAME: str(plain(text))}


def _own(types: TypeScript, own: Catalog) -> list[str]:
    return [
        _messages(types, "OwnMessages", "The application's messages, by type.", own.messages),
        _events(types, "OwnEvents", "The data of the application's events, by type.", own.events),
        _errors("OwnErrors", "The statuses of the application's errors, by name.", own.errors),
        _AUGMENTATION,
    ]


_AUGMENTATION = """\
declare module "gateway-client" {
  interface Messages extends OwnMessages {}
  interface Events extends OwnEvents {}
}"""


def _messages(types: TypeScript, name: str, about: str, messages: Iterable[MessageDescription]) -> str:
    return _interface(name, about, (line for message in messages for line in _message(types, message)))


def _message(types: TypeScript, message: MessageDescription) -> Iterable[str]:
    scope = f"The token needs the scope `{message.scope}`." if message.scope else ""
    yield from comment(_paragraphs(message.summary, message.about, scope))
    fields: dict[str, Schema] = {"data": message.data, "reply": message.reply}
    if message.chunk is not None:
        fields |= {"whole": message.whole, "chunk": message.chunk}
    shown = "; ".join(f"{field}: {types.text_of(schema)}" for field, schema in fields.items())
    yield f"{text_literal(message.type)}: {{ {shown} }};"


def _events(types: TypeScript, name: str, about: str, events: Iterable[EventDescription]) -> str:
    lines = []
    for event in events:
        lines += comment(_paragraphs(event.summary, event.about))
        lines.append(f"{text_literal(event.type)}: {types.text_of(event.data)};")
    return _interface(name, about, lines)


def _errors(name: str, about: str, errors: Iterable[ErrorDescription]) -> str:
    lines = []
    for error in errors:
        lines += comment(error.summary)
        lines.append(f"{text_literal(error.name)}: {error.status};")
    return _interface(name, about, lines)


def _interface(name: str, about: str, lines: Iterable[str]) -> str:
    return "\n".join([*comment(about), f"export interface {name} {{", *indented(lines), "}"])


def _paragraphs(*texts: str) -> str:
    return "\n\n".join(filter(None, texts))
