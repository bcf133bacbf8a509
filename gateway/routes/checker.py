"""The checks of a routes file that depend on more than one key, and what the file means.

They look at which keys go together, at the gateway's own types and scopes, at secrets of the environment, and at files
with JSON Schemas. `tables` has the form of each key.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from gateway.core.room_patterns import RoomPatterns
from gateway.core.start_error import StartError
from gateway.routes import urls
from gateway.routes.json_schema import JsonSchema
from gateway.routes.mistakes import Place, line, lines, nearest, shown
from gateway.routes.model import NO_ROOMS, Authorize, Hook, Route, Routes
from gateway.routes.signatures import Signer
from gateway.routes.source import Stamp, read_json, stamp
from gateway.routes.surroundings import Surroundings
from gateway.routes.tables import AuthorizeTable, DestinationTable, HookTable, RouteTable, Table
from schemas.base import MAX_TYPE_LENGTH
from schemas.names import ScopeName

MAX_ROUTES = 1000
MAX_HOOKS = 100
MAX_SCOPES = 100

ROOM_EFFECTS = frozenset({"publish", "join", "leave"})

_KEYS = ("scopes", "routes", "hooks", "authorize")
_PATTERN = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*(?P<below>\.\*)?")
_HOOK_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SCOPE = TypeAdapter(ScopeName)

TableT = TypeVar("TableT", bound=Table)


class Checker:
    """Checks one reading of a file. It collects the mistakes and goes on, so that one look at the file mends all."""

    def __init__(self, folder: Path, surroundings: Surroundings) -> None:
        """`folder` is the one of the file: the paths in it begin there."""
        self._folder = folder
        self._surroundings = surroundings
        self._own_scopes: frozenset[str] = frozenset()
        self.mistakes: list[str] = []
        self.stamps: dict[Path, Stamp] = {}
        """The other files that the file names, as they were when they were read."""
        self._schemas: dict[Path, JsonSchema] = {}

    def check(self, document: dict[str, Any]) -> Routes:
        """Return what a document means. It counts only if there are no `mistakes`."""
        for key in [key for key in document if key not in _KEYS]:
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
            ordered=table.ordered,
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
        destination = self._destination(table, place)
        if table is None or destination is None:
            return None
        rooms = RoomPatterns.parse(table.rooms)
        return Hook(name, *destination, frozenset(table.types), table.format, table.unseen_seconds, rooms)

    def _authorize(self, given: object) -> Authorize | None:
        place = ("authorize",)
        table = self._table(AuthorizeTable, given, place)
        destination = self._destination(table, place)
        if table is None or destination is None:
            return None
        rooms = RoomPatterns.parse(table.rooms)
        return Authorize(*destination, frozenset(table.actions), rooms, table.claims, table.timeout_seconds)

    def _destination(self, table: DestinationTable | None, place: Place) -> tuple[str, Signer] | None:
        """Return the URL of a table and what signs for it, or None if one of them is wrong."""
        if table is None:
            return None
        url, signer = self._url(table.url, table.plain_http, place), self._signer(table.secret, place)
        return None if url is None or signer is None else (url, signer)

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
            return None if file is None else self._schema_file(file)
        except ValueError as error:
            self._add((*place, key if table is not None else f"{key}_file"), str(error))
        except StartError as error:
            self._add((*place, f"{key}_file"), str(error))
        return None

    def _schema_file(self, file: str) -> JsonSchema:
        """Return the schema of a file, which several routes may share."""
        if "://" in file:  # it may have a password
            raise ValueError("expected the path of a file, got a URL; store the schema beside the routes file")
        path = self._folder / file
        if path not in self._schemas:
            self.stamps[path] = stamp(path)  # a wrong file is watched as well
            self._schemas[path] = JsonSchema(read_json(path))
        return self._schemas[path]


def _plain_json(table: Mapping[str, Any]) -> Any:
    """Return the table as JSON has it, or raise `ValueError` for what JSON does not have."""
    try:
        return json.loads(json.dumps(table, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        raise ValueError("expected a JSON Schema; JSON has no dates, no inf and no nan") from None
