"""Reads the routes file, and checks all of it before any of it counts.

The file is TOML. `tables` has the form of its tables, and this module what depends on more than one key: which keys go
together, the gateway's own types and scopes, secrets of the environment, and files with JSON Schemas. All mistakes
come in one `StartError`, one line each.
"""

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from gateway.core.room_patterns import RoomPatterns
from gateway.core.start_error import StartError
from gateway.core.strict_json import NotStrictJson, loads
from gateway.routes import urls
from gateway.routes.json_schema import JsonSchema
from gateway.routes.mistakes import Place, line, lines, nearest, shown
from gateway.routes.model import NO_ROOMS, Authorize, Hook, Route, Routes
from gateway.routes.signatures import Signer
from gateway.routes.surroundings import Surroundings
from gateway.routes.tables import AuthorizeTable, HookTable, RouteTable, Table
from schemas.base import MAX_TYPE_LENGTH
from schemas.names import ScopeName

MAX_FILE_BYTES = 1024 * 1024
MAX_SCHEMA_BYTES = 256 * 1024
MAX_SCHEMA_DEPTH = 64
MAX_ROUTES = 1000
MAX_HOOKS = 100
MAX_SCOPES = 100
MAX_LINES = 50
"""Mistakes of one file that are printed. More would hide the first ones."""

ROOM_EFFECTS = frozenset({"publish", "join", "leave"})

_KEYS = ("scopes", "routes", "hooks", "authorize")
_PATTERN = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*(?P<below>\.\*)?")
_HOOK_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SCOPE = TypeAdapter(ScopeName)

TableT = TypeVar("TableT", bound=Table)


Stamp = tuple[int, int, int] | None
"""What shows a change of a file: its time, size and number; None if there is no file."""

Stamps = Mapping[Path, Stamp]


@dataclass(frozen=True)
class Reading:
    """What was read, and the files that it came from, as they were before that."""

    routes: Routes
    stamps: Stamps


class WrongRoutes(StartError):
    """A file with mistakes. A change of any of its files may mend it."""

    def __init__(self, text: str, stamps: Stamps) -> None:
        super().__init__(text)
        self.stamps = stamps


def stamp(path: Path) -> Stamp:
    """Return what differs after a change of the file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def read(path: Path, surroundings: Surroundings) -> Reading:
    """Read and check a routes file, or raise `WrongRoutes` with a line for each mistake."""
    stamps = {path: stamp(path)}
    try:
        document = _document(path)
    except StartError as error:
        raise WrongRoutes(str(error), stamps) from None
    reader = _Reader(path, surroundings)
    routes = reader.read(document)
    stamps |= reader.stamps
    if reader.mistakes:
        raise WrongRoutes("\n".join(f"{path}: {mistake}" for mistake in _first(reader.mistakes)), stamps)
    return Reading(routes, stamps)


def _first(mistakes: list[str]) -> Iterator[str]:
    yield from mistakes[:MAX_LINES]
    if (more := len(mistakes) - MAX_LINES) > 0:
        yield f"{more} more mistakes; correct those above first"


def _document(path: Path) -> dict[str, Any]:
    raw = _bytes(path, MAX_FILE_BYTES, "GATEWAY_ROUTES: ")
    try:
        document = tomllib.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        number = raw.count(b"\n", 0, error.start) + 1
        raise StartError(f"{path}, line {number}: expected UTF-8, got another encoding; save it as UTF-8") from None
    except RecursionError:
        raise StartError(f"{path}: expected TOML, got values that are nested too deep") from None
    except ValueError as error:  # also of a number with thousands of digits
        raise StartError(f"{path}: expected TOML: {' '.join(str(error).split())[:200]}") from None
    if not document:
        # An editor that writes in place leaves such a file for a moment.
        raise StartError(
            f'{path}: expected a table such as [routes."orders.*"], got an empty file; write `scopes = []` for none'
        )
    return document


def _bytes(path: Path, limit: int, prefix: str = "") -> bytes:
    """Return the contents of a file, or raise `StartError`."""
    try:
        if not path.is_file():  # a pipe or a device might never end
            raise StartError(
                f"{prefix}expected a file at {path}, got {'something else' if path.exists() else 'nothing'}"
            )
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise StartError(f"{prefix}cannot read {path} ({error.strerror}); make it readable") from None
    if len(raw) > limit:
        raise StartError(f"{prefix}expected at most {limit} bytes in {path}, got more")
    return raw


class _Reader:
    """One reading of a file. It collects the mistakes and goes on, so that one look at the file mends all."""

    def __init__(self, path: Path, surroundings: Surroundings) -> None:
        self._folder = path.parent
        self._surroundings = surroundings
        self._own_scopes: frozenset[str] = frozenset()
        self.mistakes: list[str] = []
        self.stamps: dict[Path, Stamp] = {}
        self._schemas: dict[Path, JsonSchema] = {}

    def read(self, document: dict[str, Any]) -> Routes:
        for key in document.keys() - set(_KEYS):
            self._add((key,), f"there is no such key; {nearest(key, _KEYS)}")
        self._own_scopes = self._scopes(document.get("scopes", []))
        routes = [self._route(*item) for item in self._tables(document, "routes", MAX_ROUTES)]
        hooks = [self._hook(*item) for item in self._tables(document, "hooks", MAX_HOOKS)]
        authorize = self._authorize(document["authorize"]) if "authorize" in document else None
        return Routes(
            tuple(route for route in routes if route),
            {hook.name: hook for hook in hooks if hook},
            authorize,
            self._own_scopes,
        )

    def _add(self, place: Place, problem: str) -> None:
        self.mistakes.append(line(place, problem))

    def _scopes(self, given: object) -> frozenset[str]:
        if not isinstance(given, list) or len(given) > MAX_SCOPES:
            self._add(("scopes",), f"expected a list of at most {MAX_SCOPES} names of scopes, got {shown(given)}")
            return frozenset()
        for number, scope in enumerate(given):
            try:
                _SCOPE.validate_python(scope, strict=True)
            except ValidationError:
                expected = "the name of a scope, such as orders:write: no spaces, no quotes"
                self._add(("scopes", number), f"expected {expected}, got {shown(scope)}")
        return frozenset(scope for scope in given if isinstance(scope, str))

    def _tables(self, document: dict[str, Any], key: str, limit: int) -> Iterable[tuple[str, object]]:
        tables = document.get(key, {})
        if not isinstance(tables, dict):
            example = '[routes."orders.*"]' if key == "routes" else "[hooks.push]"
            self._add((key,), f"expected tables such as {example}, got {shown(tables)}")
            return []
        if len(tables) > limit:
            self._add((key,), f"expected at most {limit} tables, got {len(tables)}")
            return []
        return tables.items()

    def _table(self, kind: type[TableT], given: object, place: Place) -> TableT | None:
        try:
            return kind.model_validate(given)
        except ValidationError as error:
            self.mistakes += lines(error, kind, place)
            return None

    def _route(self, pattern: str, given: object) -> Route | None:
        place = ("routes", pattern)
        self._check_pattern(pattern, place)
        table = self._table(RouteTable, given, place)
        if table is None:
            return None
        self._check_destination(table, place)
        self._check_effects(table, place)
        self._check_scope(table.scope, place)
        return Route(
            pattern=pattern,
            url=self._url(table.url, table.plain_http, place),
            signer=self._signer(table.secret, place),
            service=table.service,
            timeout_seconds=table.timeout_seconds,
            parallel=table.parallel,
            scope=table.scope,
            rate=table.rate,
            idempotent=table.idempotent,
            claims=table.claims,
            data=self._schema("data", table.data, table.data_file, place),
            reply=self._schema("reply", table.reply, table.reply_file, place),
            effects=frozenset(table.effects),
            rooms=RoomPatterns.parse(table.rooms) if table.rooms else NO_ROOMS,
        )

    def _hook(self, name: str, given: object) -> Hook | None:
        place = ("hooks", name)
        if _HOOK_NAME.fullmatch(name) is None:
            self._add(place, "expected a name of 1 to 32 of a-z 0-9 - _ with a letter or digit first")
        table = self._table(HookTable, given, place)
        if table is None:
            return None
        url, signer = self._url(table.url, table.plain_http, place), self._signer(table.secret, place)
        if url is None or signer is None:
            return None
        rooms = RoomPatterns.parse(table.rooms)
        return Hook(name, url, signer, frozenset(table.types), table.format, table.unseen_seconds, rooms)

    def _authorize(self, given: object) -> Authorize | None:
        place = ("authorize",)
        table = self._table(AuthorizeTable, given, place)
        if table is None:
            return None
        url, signer = self._url(table.url, table.plain_http, place), self._signer(table.secret, place)
        if url is None or signer is None:
            return None
        rooms = RoomPatterns.parse(table.rooms)
        return Authorize(url, signer, frozenset(table.actions), rooms, table.claims, table.timeout_seconds)

    def _check_pattern(self, pattern: str, place: Place) -> None:
        found = _PATTERN.fullmatch(pattern)
        if found is None or len(pattern) > MAX_TYPE_LENGTH:
            self._add(
                place,
                f"expected a type such as orders.create or a prefix such as orders.*, of at most {MAX_TYPE_LENGTH}"
                " letters, digits, - and _ between dots, with a star only at the end",
            )
            return
        below = pattern[:-1] if found["below"] else None
        known = self._surroundings.types or ()
        taken = [each for each in known if each == pattern or (below and each.startswith(below))]
        if taken:
            self._add(
                place, f"expected types that the gateway does not have itself, got {min(taken)}; choose another name"
            )

    def _check_destination(self, table: RouteTable, place: Place) -> None:
        if table.worker == (table.url is not None):
            came = "both" if table.worker else "neither"
            self._add((*place, "url"), f"expected a url, or else worker = true, got {came}")
        if table.url is not None and table.secret is None:
            self._add((*place, "secret"), "expected a secret such as env:ORDERS_SECRET for the signature, got nothing")
        if table.url is None and table.secret is not None:
            self._add((*place, "secret"), "a route for workers has no signature; leave the secret out")

    def _check_effects(self, table: RouteTable, place: Place) -> None:
        in_rooms = sorted(ROOM_EFFECTS & set(table.effects))
        if in_rooms and table.rooms is None:
            self._add((*place, "rooms"), f"expected the rooms that {in_rooms[0]} may touch, got nothing; add the line")
        if table.rooms is not None and not in_rooms:
            self._add(
                (*place, "rooms"), "these have no use without publish, join or leave in `effects`; leave them out"
            )
        if "publish" in table.effects and table.service is None:
            self._add((*place, "service"), "expected the service account that publishes, got nothing; add the line")

    def _check_scope(self, scope: str | None, place: Place) -> None:
        if scope is None or self._surroundings.scopes is None:
            return
        known = self._surroundings.scopes | self._own_scopes
        if scope not in known:
            hint = nearest(scope, known)
            self._add((*place, "scope"), f"expected a known scope, got {shown(scope)}; {hint}; or add it to `scopes`")

    def _url(self, text: str | None, plain_http: bool, place: Place) -> str | None:
        if text is None:
            if plain_http:
                self._add((*place, "plain_http"), "this has no use without a url; leave it out")
            return None
        url = urls.parse(text)
        if url.leads_to(self._surroundings.addresses):
            self._add((*place, "url"), "expected the URL of a service, got one of this gateway itself")
        if self._surroundings.production and url.is_plain and not url.is_near and not plain_http:
            self._add(
                (*place, "url"),
                "expected https in production; or write plain_http = true if the network is as safe as a wire",
            )
        return text

    def _signer(self, secret: tuple[str, ...] | None, place: Place) -> Signer | None:
        if secret is None:
            return None
        try:
            return Signer.parse(self._secrets(secret))
        except ValueError as error:
            self._add((*place, "secret"), str(error))
            return None

    def _secrets(self, given: Iterable[str]) -> Iterator[str]:
        for text in given:
            if not text.startswith("env:"):
                yield text
                continue
            name = text.removeprefix("env:")
            if _VARIABLE.fullmatch(name) is None:
                raise ValueError("expected the name of a variable after env:, such as env:ORDERS_SECRET")
            if not (value := self._surroundings.variables.get(name)):
                raise ValueError(f"expected a secret in the variable {name}, got nothing; set it, or add it to .env")
            yield value.strip()

    def _schema(self, key: str, table: Mapping[str, Any] | None, file: str | None, place: Place) -> JsonSchema | None:
        if table is not None and file is not None:
            self._add((*place, f"{key}_file"), f"expected `{key}` or `{key}_file`, got both; leave one out")
        try:
            if table is not None:
                return JsonSchema(_plain_json(table))
            return None if file is None else self._schema_file(self._folder / file)
        except ValueError as error:
            self._add((*place, key if table is not None else f"{key}_file"), str(error))
        except StartError as error:
            self._add((*place, f"{key}_file"), str(error))
        return None

    def _schema_file(self, path: Path) -> JsonSchema:
        """Return the schema of a file, which several routes may share."""
        if path not in self._schemas:
            self.stamps[path] = stamp(path)  # a wrong file is watched as well
            try:
                document = loads(_bytes(path, MAX_SCHEMA_BYTES).decode("utf-8-sig"), max_depth=MAX_SCHEMA_DEPTH)
            except UnicodeDecodeError:
                raise ValueError(f"expected JSON in {path}, in UTF-8, got another encoding") from None
            except NotStrictJson as error:
                raise ValueError(f"expected JSON in {path}: {error}") from None
            self._schemas[path] = JsonSchema(document)
        return self._schemas[path]


def _plain_json(table: Mapping[str, Any]) -> Any:
    """Return the table as JSON has it, or raise `ValueError` for what JSON does not have."""
    try:
        return json.loads(json.dumps(table, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        raise ValueError("expected a JSON Schema; JSON has no dates, no inf and no nan") from None
