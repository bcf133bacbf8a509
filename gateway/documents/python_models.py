"""`gateway export python`: each message, reply and event as a pydantic model, for the Python client.

What Python says by types is there: fields, their types, which ones may be left out. Lengths, patterns and rules about
several fields are the gateway's alone, which names the wrong field. A name that Python does not allow gets another
one, and keeps its own on the wire. The data of what comes from the gateway lets unknown words through.
"""

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gateway.documents.catalog import Catalog, EventDescription, MessageDescription
from gateway.documents.components import Schema
from gateway.documents.place import Files, Place
from gateway.documents.plain import plain
from gateway.documents.python_names import class_name, field_name
from gateway.documents.python_types import PREFIX, Types, literal

WIDTH = 116
FILE = "messages.py"
ABOUT = (
    '"""The messages, replies and events of a gateway, for `gateway_client`.'
    ' `gateway export python` has made this file."""'
)
MODULES = {
    "typing": ("Any", "ClassVar", "Literal", "TypeAlias"),
    "pydantic": ("Field",),
    "gateway_client.model": ("ClientMessage", "Event", "Root", "StreamingMessage", "Wire"),
}
IMPORTED = {name for names in MODULES.values() for name in names} | {"MESSAGES", "EVENTS", "None", "True", "False"}


def python(catalog: Catalog, place: Place) -> Files:
    """Return one module with the models."""
    text = str(plain("\n\n".join(Models(catalog).parts()).rstrip("\n") + "\n"))
    return {FILE: f"{ABOUT}\n\nfrom __future__ import annotations\n\n{_imports(text)}\n\n{text}"}


def _imports(text: str) -> str:
    """Return the imports that a module needs."""
    used = {module: [name for name in names if re.search(rf"\b{name}\b", text)] for module, names in MODULES.items()}
    return "\n".join(f"from {module} import {', '.join(names)}\n" for module, names in used.items() if names)


class Models:
    """Writes the classes of a catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._schemas = dict(catalog.schemas)
        self._names = _names_of(self._schemas)
        self._goes_out = _reached(self._schemas, (each.data for each in catalog.messages))
        self._own = _own(catalog)
        """The names of schemas that become the class of a message or an event themselves."""
        self._taken = IMPORTED | {self._names[name] for name in self._schemas if not self._is_any(name)}
        self._inline: list[str] = []
        self._opens = False
        self._types = Types(self._type_of_name, self._class_of_inline)

    def parts(self) -> Iterator[str]:
        """Yield the parts of the module."""
        data, aliases = list(self._data_classes()), list(self._aliases())
        messages = [self._message(each) for each in self._catalog.messages]
        events = [self._event(each) for each in self._catalog.events]
        yield from (part for part in (*data, *self._inline) if part)
        if aliases:
            yield "\n".join(aliases) + "\n"
        yield from (text for _, _, text in (*messages, *events))
        yield _table("MESSAGES", "ClientMessage[Any]", messages) + "\n\n" + _table("EVENTS", "Event", events)

    # ---- named schemas ----

    def _is_any(self, name: str) -> bool:
        return not _is_object(self._schemas[name]) and self._plain_type(name) == "Any"

    def _plain_type(self, name: str) -> str:
        return Types(lambda _: "x", lambda *_: "x").of(self._schemas[name], name, opens=False)

    def _type_of_name(self, name: str) -> str:
        return "Any" if name not in self._schemas or self._is_any(name) else self._names[name]

    def _data_classes(self) -> Iterator[str]:
        for name, schema in self._schemas.items():
            if _is_object(schema) and name not in self._own:
                self._opens = name not in self._goes_out
                yield self._class(self._names[name], "Wire", schema, _summary(schema), ())

    def _aliases(self) -> Iterator[str]:
        """Yield the aliases. One that leads to itself would need a name that is not there yet: there, it is Any."""
        written: set[str] = set()
        for name in self._schemas:
            yield from self._alias(name, written, ())

    def _alias(self, name: str, written: set[str], open: tuple[str, ...]) -> Iterator[str]:
        schema = self._schemas[name]
        if _is_object(schema) or self._is_any(name) or name in written or name in open:
            return
        for each in sorted(_references(schema)):
            if each in self._schemas:
                yield from self._alias(each, written, (*open, name))
        ready = Types(
            lambda found: "Any" if self._is_open_alias(found, written) else self._type_of_name(found),
            self._class_of_inline,
        )
        self._opens = name not in self._goes_out
        yield f"{self._names[name]}: TypeAlias = {ready.of(schema, self._names[name], opens=self._opens)}"
        written.add(name)

    def _is_open_alias(self, name: str, written: set[str]) -> bool:
        return name in self._schemas and not _is_object(self._schemas[name]) and name not in written

    # ---- classes ----

    def _message(self, message: MessageDescription) -> tuple[str, str, str]:
        self._opens = False
        place = class_name(message.type, "Message", self._taken)
        whole = self._typed(message.whole, f"{place}Whole")
        base = f"ClientMessage[{whole}]"
        if message.chunk is not None:
            reply, chunk = self._typed(message.reply, f"{place}Reply"), self._typed(message.chunk, f"{place}Chunk")
            base = f"StreamingMessage[{whole}, {reply}, {chunk}]"
        name, text = self._typed_class(message.type, "Message", base, message.data, message.summary, message.about)
        return message.type, name, text

    def _event(self, event: EventDescription) -> tuple[str, str, str]:
        self._opens = True
        name, text = self._typed_class(event.type, "Event", "Event", event.data, event.summary, event.about)
        return event.type, name, text

    def _typed(self, schema: Schema, place: str) -> str:
        """Return the type of what comes from the gateway."""
        return self._types.of(schema, place, opens=True)

    def _typed_class(
        self, type: str, suffix: str, base: str, data: Schema, summary: str, about: str
    ) -> tuple[str, str]:
        named = _name_in(data)
        schema = self._schemas.get(named, {}) if named else data
        line = f"type: ClassVar[str] = {literal(type)}"
        words = "\n\n".join(text for text in (summary, about) if text)
        if named in self._own and _is_object(schema):
            name = self._names[named]
            return name, self._class(name, base, schema, _summary(schema) or words, (line,))
        name = class_name(type, suffix, self._taken)
        self._taken.add(name)
        if _is_object(schema) and schema.get("properties"):
            if named:
                return name, _written(name, f"{base}, {self._names[named]}", words, (line,), ())
            return name, self._class(name, base, schema, words, (line,))
        if _is_object(schema) and schema.get("additionalProperties") is False:
            return name, _written(name, base, words, (line,), ())
        root = f"root: {self._types.of(schema, f'{name}Data', opens=self._opens)}"
        return name, _written(name, f"{base}, Root", words, (line,), (root,))

    def _class_of_inline(self, schema: Schema, place: str) -> str:
        name = class_name(place, "Data", self._taken)
        self._taken.add(name)
        self._inline.append(self._class(name, "Wire", schema, _summary(schema), ()))
        return name

    def _class(self, name: str, base: str, schema: Schema, words: str, lines: tuple[str, ...]) -> str:
        return _written(name, base, words, lines, tuple(self._fields(name, schema, typed=bool(lines))))

    def _fields(self, name: str, schema: Schema, *, typed: bool) -> Iterator[str]:
        required = schema.get("required", ())
        taken: set[str] = set(self._names.values()) | IMPORTED | ({"type"} if typed else set())
        for key, each in schema.get("properties", {}).items():
            field = field_name(key, taken)
            taken.add(field)
            found = self._types.of(each, name + class_name(key, "Field", ()), opens=self._opens)
            yield _field(field, key, found, each, needed=key in required)


def _field(field: str, key: str, type: str, schema: Any, *, needed: bool) -> str:
    names = "" if field == key else f"validation_alias={literal(key)}, serialization_alias={literal(key)}"
    declared = f"{field}: {type}"
    if needed:
        return _assigned(declared, names)
    value = schema.get("default") if isinstance(schema, Mapping) else None
    if value is None or not isinstance(value, str | int | float | bool) or "Literal" in type:
        value, declared = None, declared if type == "Any" or type.endswith("None") else f"{declared} | None"
    default = literal(value)
    return _assigned(declared, f"{default}, {names}") if names else f"{declared} = {default}"


def _assigned(declared: str, arguments: str) -> str:
    """Return a declaration with what `Field` gets, on three lines if one is too short."""
    if not arguments:
        return declared
    line = f"{declared} = Field({arguments})"
    return line if len(line) <= WIDTH else f"{declared} = Field(\n    {arguments}\n)"


def _written(name: str, base: str, words: str, lines: tuple[str, ...], fields: tuple[str, ...]) -> str:
    body = [_docstring(words or f"The data of {name}.")]
    if lines:
        body += ["", *lines]
    if fields:
        body += ["", *fields]
    return f"class {name}({base}):\n" + textwrap.indent("\n".join(body), "    ", lambda line: bool(line.strip())) + "\n"


def _docstring(words: str) -> str:
    text = words.replace("\\", "\\\\").replace('"""', "'''")
    lines = [short for line in text.splitlines() for short in (textwrap.wrap(line, WIDTH) or [""])]
    if len(lines) == 1 and not lines[0].endswith('"'):
        return f'"""{lines[0]}"""'
    return '"""' + "\n".join(lines) + '\n"""'


def _table(name: str, kind: str, entries: Iterable[tuple[str, str, str]]) -> str:
    lines = "".join(f"    {literal(key)}: {found},\n" for key, found, _ in entries)
    return f"{name}: dict[str, type[{kind}]] = {{\n{lines}}}\n"


def _summary(schema: Schema) -> str:
    return str(schema.get("description", ""))


def _is_object(schema: object) -> bool:
    return (
        isinstance(schema, Mapping)
        and ("properties" in schema or schema.get("type") == "object")
        and (bool(schema.get("properties")) or schema.get("additionalProperties") is False)
    )


def _name_in(schema: object) -> str | None:
    reference = schema.get("$ref") if isinstance(schema, Mapping) else None
    return reference.removeprefix(PREFIX) if isinstance(reference, str) else None


def _names_of(schemas: Mapping[str, Any]) -> dict[str, str]:
    return {name: f"{name}_" if name in IMPORTED else name for name in schemas}


def _references(value: object) -> set[str]:
    """Return the names that a schema refers to."""
    if isinstance(value, Mapping):
        own = _name_in(value)
        return {own} if own else set().union(*map(_references, value.values()))
    return set().union(*map(_references, value)) if isinstance(value, list) else set()


def _reached(schemas: Mapping[str, Any], roots: Iterable[Schema]) -> set[str]:
    """Return the names that schemas lead to."""
    found: set[str] = set()
    ahead = set().union(*map(_references, roots))
    while ahead:
        name = ahead.pop()
        if name not in found and name in schemas:
            found.add(name)
            ahead |= _references(schemas[name])
    return found


def _own(catalog: Catalog) -> set[str]:
    """Return the schemas of the data of one message that never come back, and of one event that never go out."""
    messages, events = (
        [_name_in(each.data) for each in catalog.messages],
        [_name_in(each.data) for each in catalog.events],
    )
    answers = [schema for each in catalog.messages for schema in (each.reply, each.whole, each.chunk) if schema]
    comes = _reached(catalog.schemas, [*answers, *(each.data for each in catalog.events)])
    goes = _reached(catalog.schemas, (each.data for each in catalog.messages))
    own = {name for name in messages if name is not None and messages.count(name) == 1 and name not in comes}
    return own | {name for name in events if name is not None and events.count(name) == 1 and name not in goes}
