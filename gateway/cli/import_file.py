"""Reads files of users from another system: CSV, or JSON lines."""

import csv
import io
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo
from pydantic_core import PydanticCustomError

from gateway.auth.passwords import bcrypt_problem
from gateway.core.start_error import StartError
from gateway.store import users
from gateway.store.users import UserRow
from schemas.names import MAX_SCOPES_LENGTH, ScopeName, TypedUserName
from schemas.users import Email, Line

MAX_LINES_TOLD = 20


def _bcrypt(value: str, info: ValidationInfo[dict[str, int]]) -> str:
    if problem := bcrypt_problem(value, info.context["most_rounds"]):
        raise PydanticCustomError("bcrypt", "{problem}", {"problem": problem})
    return value


def _split(value: object) -> object:
    return value.split() if isinstance(value, str) else value


def _short_enough(value: list[str]) -> list[str]:
    if len(" ".join(value)) > MAX_SCOPES_LENGTH:
        raise PydanticCustomError("scopes", "expected at most {most} characters", {"most": MAX_SCOPES_LENGTH})
    return value


class ImportedUser(BaseModel):
    """A user in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    username: TypedUserName
    password_hash: Annotated[str, AfterValidator(_bcrypt), Field(repr=False)]
    full_name: Line | None = None
    email: Email | None = None
    scopes: Annotated[list[ScopeName], BeforeValidator(_split), AfterValidator(_short_enough)] | None = None
    disabled: bool = False

    def row(self, now: int, default_scopes: frozenset[str]) -> UserRow:
        """Return the user's row. `now` is in milliseconds since 1970."""
        return users.new(
            name=self.username,
            password_hash=self.password_hash,
            full_name=self.full_name,
            email=self.email,
            scopes=default_scopes if self.scopes is None else set(self.scopes),
            disabled=self.disabled,
            now=now,
        )


def read_users(file: str, most_rounds: int) -> dict[int, ImportedUser]:
    """Return all users of a file by their line numbers, or raise `StartError` with all wrong lines.

    A hash may cost at most `most_rounds`. Errors never quote a line, because it may contain a password.
    """
    found: dict[int, ImportedUser] = {}
    first_lines: dict[str, int] = {}
    problems: dict[int, str] = {}
    for number, values in _lines(_text(file)):
        try:
            user = ImportedUser.model_validate(values, context={"most_rounds": most_rounds})
        except ValidationError as error:
            problems[number] = "; ".join(_explain(item) for item in error.errors(include_input=False))
            continue
        if user.username in first_lines:
            problems[number] = f"the user name `{user.username}` is on line {first_lines[user.username]} already"
        first_lines.setdefault(user.username, number)
        found[number] = user
    raise_problems(problems)
    if not found:
        raise StartError("there are no users in it; expected CSV with a line of column names, or JSON lines")
    return found


def raise_problems(problems: Mapping[int, str]) -> None:
    """Raise `StartError` if there are problems. It names a line by its number."""
    if not problems:
        return
    told = [f"line {number}: {problem}" for number, problem in sorted(problems.items())[:MAX_LINES_TOLD]]
    if len(problems) > MAX_LINES_TOLD:
        told.append(f"and {len(problems) - MAX_LINES_TOLD} more lines are wrong")
    raise StartError("\n".join([*told, "nothing was imported"]))


def _text(file: str) -> str:
    try:
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise StartError(f"cannot read {file} ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise StartError(f"{file}: expected UTF-8, got something else at byte {error.start}") from None


def _lines(text: str) -> Iterator[tuple[int, Any]]:
    return _json_lines(text) if text.lstrip().startswith(("{", "[")) else _csv_lines(text)


def _json_lines(text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, _json(line)


def _json(line: str) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None  # neither is this an object


def _csv_lines(text: str) -> Iterator[tuple[int, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="too many cells", strict=True)
    try:
        names = reader.fieldnames or ()
        if not set(names) <= ImportedUser.model_fields.keys() or len(set(names)) < len(names):
            # Not quoted either: without a line of names, this is the first user.
            raise StartError(f"line 1: expected {', '.join(ImportedUser.model_fields)}, or some of them, once each")
        for row in reader:
            # An empty cell means that the field is missing.
            yield reader.line_num, {name: value for name, value in row.items() if value}
    except csv.Error as error:
        raise StartError(f"line {reader.line_num}: {error}\nnothing was imported") from None


def _explain(item: Any) -> str:
    if not item["loc"]:
        return "expected one JSON object"
    problem = {"missing": "is missing", "extra_forbidden": "is not expected"}.get(item["type"], item["msg"])
    return f"{str(item['loc'][0])[:64]}: {problem}"
