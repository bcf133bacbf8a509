"""All settings, with their defaults and the checks of their values.

`.env.example` has the same list with working values.
"""

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from gateway.config import database_url
from gateway.config.allowed_origins import is_valid_pattern
from gateway.config.bus_url import MEMORY, parse
from gateway.config.env_file import ENCODING, ENV_FILE, names_in_file, unknown_names
from gateway.config.external_services import ByName, Introspection, Issuer, parse_external_services
from gateway.config.proxies import TrustedProxies
from gateway.config.unfit_secrets import MIN_KEY_BYTES, is_guessable
from gateway.core.start_error import StartError
from schemas.names import DEFAULT_SCOPES, MAX_SCOPES_LENGTH, ROOM_NAME, ScopeName

logger = logging.getLogger(__name__)

PREFIX = "GATEWAY_"

OF_COMMANDS = {"GATEWAY_CHAT_PASSWORD", "GATEWAY_PUBLISH_URL", "GATEWAY_SERVICE_KEY"}
"""Variables of commands that use a gateway elsewhere. They are no settings of this one."""

MAX_TOKEN_MINUTES = 24 * 60

SAMPLE_TOKEN = "change-me-change-me"  # noqa: S105 - `.env.example` prints it, so it is no secret

Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """The gateway's settings, read from `GATEWAY_…` variables and from the file `.env`.

    Rates are per second, unless a name says otherwise. 0 turns a rate or a count off.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_file_encoding=ENCODING,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    # Where it runs
    environment: Literal["development", "production"] = "development"
    data_dir: Path = Path("data")
    database_url: Annotated[str | None, Field(repr=False)] = None
    sqlite_synchronous: Literal["FULL", "NORMAL"] = "FULL"
    bus_url: Annotated[str, Field(repr=False)] = MEMORY
    bus_prefix: str = "json-gateway"
    bus_required: bool = True
    bus_queue: Annotated[int, Field(ge=1)] = 10000
    bus_queue_bytes: Annotated[int, Field(ge=1048576)] = 16777216
    node_lease_seconds: Annotated[float, Field(ge=1, le=300)] = 10
    registry: str = ""
    routes: Path | None = None
    root_path: str = ""
    trusted_proxies: str = ""
    plain_http: bool = False
    allow_uvicorn_protocol: bool = False
    log_format: Literal["text", "json"] = "text"
    audit_log: str = ""
    metrics_token: SecretStr | None = None
    tracing: Literal["auto", "on", "off"] = "auto"
    tracing_details: Annotated[frozenset[Literal["user", "room"]], NoDecode] = frozenset()

    # Access
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = ()
    secret_key: SecretStr | None = None
    keys_dir: Path | None = None
    token_endpoint: Literal["on", "off"] = "on"  # noqa: S105 - a switch
    registration: Literal["open", "closed"] | None = None
    default_scopes: Annotated[frozenset[ScopeName], NoDecode] = DEFAULT_SCOPES
    default_group: str = ""
    token_issuer: str = "json-gateway"  # noqa: S105 - a name
    token_audience: str = "json-gateway"  # noqa: S105 - a name
    token_minutes: Annotated[float, Field(gt=0, le=MAX_TOKEN_MINUTES)] = 15
    password_rounds: Annotated[int, Field(ge=4, le=16)] = 12
    handshake_rejection: Literal["close", "http"] = "close"
    session_cookie: str = "session"
    auth_timeout_seconds: Annotated[float, Field(ge=0, le=300)] = 10
    max_unauthenticated_per_address: Count = 100
    max_tickets_per_user: Count = 20
    login_rate_per_user: Count = 5
    login_rate_per_address: Count = 20
    registration_rate_per_address: Count = 20
    login_backoff_seconds: Annotated[float, Field(ge=0, le=24 * 3600)] = 900
    session_days: Annotated[float, Field(gt=0, le=3650)] = 30
    session_idle_days: Annotated[float, Field(gt=0, le=3650)] = 7
    max_sessions_per_user: Count = 100
    refresh_rate_per_session: Count = 10
    issuers: Annotated[ByName[Issuer], NoDecode] = Field(default_factory=dict)
    introspection: Annotated[ByName[Introspection], NoDecode] = Field(default_factory=dict)
    outside_timeout_seconds: Annotated[float, Field(gt=0, le=30)] = 5
    issuer_keys_minutes: Annotated[float, Field(gt=0, le=24 * 60)] = 10
    introspection_cache_seconds: Annotated[float, Field(ge=0, le=10)] = 5

    # Connections
    handshake_seconds: Annotated[float, Field(gt=0, le=3600)] = 10
    keep_alive_seconds: Annotated[float, Field(gt=0, le=3600)] = 150
    heartbeat_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 25
    max_waiting_connections: Count = 10000
    max_connections_per_user: Count = 20
    max_connections_per_address: Count = 1000
    request_rate: Rate = 100
    service_rate: Rate = 1000
    connection_rate: Rate = 100
    connection_rate_per_user: Rate = 10
    deflate: bool = False
    drain_seconds: Annotated[float, Field(ge=0, le=3600)] = 10

    # Messages
    max_message_bytes: Annotated[int, Field(ge=1024, le=16 * 1024 * 1024)] = 65536
    max_json_depth: Annotated[int, Field(ge=4, le=256)] = 32
    message_rate: Rate = 50
    message_burst: Annotated[int, Field(ge=1)] = 100
    message_rate_per_user: Rate = 100
    message_rate_per_address: Rate = 1000
    write_bytes_per_user: Count = 65536
    max_protocol_errors: Count = 10
    max_calls_per_connection: Count = 8
    max_call_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 600
    outbox_frames: Annotated[int, Field(ge=16)] = 256
    outbox_bytes: Annotated[int, Field(ge=524288)] = 1048576

    # Rooms
    retention_days: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0
    retention_messages: Count = 0
    away_minutes: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 5
    max_presence_listeners: Count = 200
    signal_rate: Rate = 20
    max_waiting_writes: Annotated[int, Field(ge=1)] = 5000
    sweep_seconds: Annotated[float, Field(gt=0, le=3600)] = 10
    room_window_messages: Annotated[int, Field(ge=0, le=1000)] = 100
    room_window_bytes: Annotated[int, Field(ge=0, le=1048576)] = 65536
    room_memory_bytes: Annotated[int, Field(ge=0)] = 67108864
    room_memory_seconds: Annotated[float, Field(ge=0, le=3600)] = 60
    rooms_open: bool = True
    join_rate: Rate = 10
    join_rate_per_user: Rate = 30
    max_rooms_per_connection: Count = 128
    max_rooms_owned: Count = 100
    max_rooms_joined: Count = 1000
    max_invitations_per_room: Count = 100
    max_invitations_per_inviter: Count = 100
    max_invitations_per_user: Count = 100
    max_stored_bytes_per_user: Count = 1073741824
    max_stored_bytes_per_room: Count = 10737418240
    max_events_per_hook: Count = 100000

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, value: str) -> str:
        try:
            TrustedProxies(value)
        except ValueError as error:
            raise PydanticCustomError("trusted_proxies", "{problem}", {"problem": str(error)}) from None
        return value.strip()

    @field_validator("allowed_origins", "tracing_details", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(origin.strip() for origin in value.split(",") if origin.strip())
        return value

    @field_validator("allowed_origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not is_valid_pattern(origin):
                raise PydanticCustomError(
                    "origin",
                    "expected origins as browsers send them, such as https://app.example.com, http://localhost:3000 or"
                    " file://: in lower case, without a path or the default port; or https://*.example.com, where"
                    " * is one label before at least two; separated by commas",
                )
        return value

    @field_validator("session_cookie")
    @classmethod
    def _check_session_cookie(cls, value: str) -> str:
        if re.fullmatch(r"[A-Za-z0-9_.-]*", value) is None:
            raise PydanticCustomError("session_cookie", "expected the name of a cookie, such as session, or nothing")
        return value

    @field_validator("issuers", "introspection", mode="before")
    @classmethod
    def _parse_services(cls, value: object) -> object:
        return parse_external_services(value) if isinstance(value, str) else value

    @field_validator("default_scopes", mode="before")
    @classmethod
    def _split_scopes(cls, value: object) -> object:
        return value.split() if isinstance(value, str) else value

    @field_validator("default_scopes")
    @classmethod
    def _check_scopes(cls, value: frozenset[str]) -> frozenset[str]:
        text = " ".join(value)
        if not value or "," in text or "admin" in value or len(text) > MAX_SCOPES_LENGTH:
            raise PydanticCustomError(
                "default_scopes",
                "expected names of scopes with spaces between them, such as chat:read chat:write; no admin among them,"
                " which `gateway users grant` gives",
            )
        return value

    @field_validator("default_group")
    @classmethod
    def _check_group(cls, value: str) -> str:
        if value and re.fullmatch(ROOM_NAME, value) is None:
            raise PydanticCustomError("default_group", "expected the name of a group, such as team, or nothing")
        return value

    @field_validator("registry")
    @classmethod
    def _check_registry(cls, value: str) -> str:
        if value and re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", value) is None:
            raise PydanticCustomError(
                "registry", "expected MODULE:NAME of a Registry, such as shop.registry:registry, or nothing"
            )
        return value

    @field_validator("routes", mode="before")
    @classmethod
    def _no_routes(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("root_path")
    @classmethod
    def _check_root_path(cls, value: str) -> str:
        if value and (not value.startswith("/") or value.endswith("/")):
            raise PydanticCustomError("root_path", "expected a path such as /gateway, or nothing")
        return value

    @field_validator("bus_url")
    @classmethod
    def _check_bus(cls, value: str) -> str:
        if value != MEMORY:
            try:
                parse(value)
            except ValueError as error:
                # Passed as a value of the template, because the text may contain braces.
                raise PydanticCustomError("bus_url", "{problem}", {"problem": str(error)}) from None
        return value

    @field_validator("bus_prefix")
    @classmethod
    def _check_prefix(cls, value: str) -> str:
        # No colon: it ends the prefix within a key. No brace: in a cluster it would choose the key's slot.
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", value) is None:
            raise PydanticCustomError("bus_prefix", "expected a word such as chat-staging, of at most 64 characters")
        return value

    @field_validator("metrics_token")
    @classmethod
    def _check_metrics_token(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and (len(value.get_secret_value()) < 16 or value.get_secret_value() == SAMPLE_TOKEN):
            raise PydanticCustomError(
                "metrics_token",
                "expected at least 16 characters, and not the sample; make one with: openssl rand -base64 24",
            )
        return value

    @field_validator("database_url")
    @classmethod
    def _check_database(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                database_url.check(value)
            except ValueError as error:
                raise PydanticCustomError("database_url", "{problem}", {"problem": str(error)}) from None
        return value

    @field_validator("secret_key")
    @classmethod
    def _check_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        key = value.get_secret_value()
        if len(key.encode()) < MIN_KEY_BYTES:
            raise PydanticCustomError(
                "secret_key",
                "expected at least {bytes} bytes, got {got}; make one with: openssl rand -base64 48",
                {"bytes": MIN_KEY_BYTES, "got": len(key.encode())},
            )
        from gateway.config.key_material import is_key_material  # with cryptography, which few commands need

        if is_key_material(key.encode()):
            raise PydanticCustomError(
                "secret_key",
                "expected a random string, got a key or a certificate; make one with: openssl rand -base64 48",
            )
        return value

    @model_validator(mode="after")
    def _check_services(self) -> Self:
        if twice := self.issuers.keys() & self.introspection.keys():
            raise _wrong("INTROSPECTION", f"expected other names than in GATEWAY_ISSUERS, got `{min(twice)}` in both")
        return self

    @model_validator(mode="after")
    def _check_secrets_of_issuers(self) -> Self:
        issuer_of: dict[str, str] = {}
        for name, issuer in self.issuers.items():
            if issuer.secret is None:
                continue
            secret = issuer.secret.get_secret_value()
            if issuer.secret == self.secret_key:
                # With ours, the issuer could sign tokens of this gateway, `admin` among their scopes.
                raise _wrong("ISSUERS", f"{name}.secret: expected another secret than GATEWAY_SECRET_KEY")
            if issuer_of.setdefault(secret, issuer.issuer) != issuer.issuer:
                # Each of the two could sign tokens of the other.
                raise _wrong("ISSUERS", f"{name}.secret: expected another secret than that of another issuer")
            if not self.development and is_guessable(secret):
                raise _wrong("ISSUERS", f"{name}.secret: expected a random string, got a sample or one easy to guess")
        return self

    @model_validator(mode="after")
    def _check_production(self) -> Self:
        if self.environment == "development":
            return self
        # `auth.keys` checks that there is a key at all: it also knows the key files.
        key = None if self.secret_key is None else self.secret_key.get_secret_value()
        if key is not None and is_guessable(key):
            raise _wrong(
                "SECRET_KEY",
                "expected a random string, got a sample or one as easy to guess;"
                " make one with: openssl rand -base64 48",
            )
        if self.password_rounds < 10:
            raise _wrong("PASSWORD_ROUNDS", "expected at least 10 in production; leave it out for 12")
        return self

    @property
    def development(self) -> bool:
        """Return whether this is a developer's machine: the page, the API's documentation and registration are open."""
        return self.environment == "development"

    @property
    def registration_open(self) -> bool:
        """Return whether new users may register: as set; by default only in development, if clients can log in here."""
        if self.registration is None:
            return self.development and self.token_endpoint == "on"  # noqa: S105 - a switch
        return self.registration == "open"

    @property
    def max_frame_bytes(self) -> int:
        """Return the size limit of a frame to a client. It fits the content of one message, however it is encoded."""
        return max(256 * 1024, 4 * self.max_message_bytes)

    @property
    def key_folder(self) -> Path:
        """Return the folder of the key files."""
        return self.keys_dir or self.data_dir / "keys"

    @property
    def audit_path(self) -> Path | None:
        """Return the path of the audit log, or None if it is off."""
        if self.audit_log == "off":
            return None
        return Path(self.audit_log) if self.audit_log else self.data_dir / "audit.log"

    @property
    def store_url(self) -> str:
        """Return the database's URL. Without the setting, it is a SQLite file in the data folder."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'gateway.db'}"


def _wrong(name: str, problem: str) -> PydanticCustomError:
    # pydantic names no field if a check concerns several. `_explain` takes the name from here.
    return PydanticCustomError("setting", "{problem}", {"name": name, "problem": problem})


def load_settings(**overrides: object) -> Settings:
    """Return the settings, or raise `StartError` with a line for each wrong variable.

    A line names the variable and what was expected. It never has the value, which may be a secret.
    """
    names_in_file()  # refuses a file that the settings would misread
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        raise StartError("\n".join(_explain(error))) from None


def _explain(error: ValidationError) -> list[str]:
    lines = []
    for item in error.errors(include_url=False, include_input=False):
        name, *path = item["loc"] or ("",)
        name = item.get("ctx", {}).get("name") or str(name)
        where = f"{'.'.join(str(part)[:64] for part in path)}: " if path else ""
        lines.append(f"{PREFIX}{name.upper()}: {where}{item['msg']}")
    return lines


def warn_of_unknown_names() -> None:
    """Log each name in the environment or in `.env` that looks like a setting but is none: usually a typing error.

    In the file, this includes a setting's name without its prefix, and a name on more than one line. A process logs
    each mistake once.
    """
    for name, nearest in unknown_settings(os.environ).items():
        _warn(name, nearest)
    for name, lines in Counter(name.upper() for name in names_in_file()).items():
        if lines > 1 and name in _known():
            _warn_of_lines(name)


def unknown_settings(environ: Iterable[str]) -> dict[str, str | None]:
    """Return each name in the environment or in `.env` that looks like a setting but is none, with the nearest one."""
    known, in_file = _known(), names_in_file()
    bare = {name: whole for name in in_file if (whole := f"{PREFIX}{name}".upper()) in known}
    return unknown_names([*environ, *in_file], known, PREFIX) | bare


def _known() -> set[str]:
    return {f"{PREFIX}{name}".upper() for name in Settings.model_fields} | OF_COMMANDS


@cache
def _warn(name: str, nearest: str | None) -> None:
    hint = f"did you mean {nearest}?" if nearest else "`gateway settings` lists all of them"
    shown = name if name.isprintable() else ascii(name)[1:-1]  # an invisible character would look right
    logger.warning("%s is not a setting of this version; %s", shown, hint)


@cache
def _warn_of_lines(name: str) -> None:
    logger.warning("%s is on more than one line of .env; the last line counts", name)
