"""A gateway inside an existing FastAPI application, below a prefix.

    app = FastAPI(lifespan=my_lifespan)
    gateway = attach(app, prefix="/rt")

Starlette runs no lifespan of a mounted application. So `attach` runs the host's lifespan inside the gateway's. The
gateway starts first and ends last, and both keep their state.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypedDict, Unpack

from fastapi import FastAPI
from starlette.routing import Match, Mount
from starlette.types import Receive, Scope, Send

from gateway.app import create_app
from gateway.auth.external.app_authorizers import AppAuthorizer
from gateway.chat.fast_route import FastWebSocketApp
from gateway.config.settings import Settings, load_settings, warn_of_unknown_names
from gateway.core.clock import Clock
from gateway.http.wrong_place import CHAT_PATH
from gateway.lifespan import Lifespan
from handlers.registry import Handlers, Registry

_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")


class AppOptions(TypedDict, total=False):
    """What `create_app` takes besides settings."""

    registry: Registry | Handlers
    lifespan: Lifespan | None
    state: object
    authorizers: Mapping[str, AppAuthorizer] | None
    clock: Clock | None


def attach(
    app: FastAPI, prefix: str = "/rt", settings: Settings | None = None, **options: Unpack[AppOptions]
) -> FastAPI:
    """Put a gateway into an application below a prefix, and return the gateway; `options` are those of `create_app`.

    Call it once for each prefix, before the application starts. If a proxy removes a path that the application does not
    know, `GATEWAY_ROOT_PATH` names that path.

    Raise `ValueError` for a wrong prefix, for one that a route of the application uses already, and for the data
    folder of another gateway in it. Raise what `create_app` raises.
    """
    if _PREFIX.fullmatch(prefix) is None:
        raise ValueError(f"prefix: expected a path such as /rt, without a slash at its end, got {prefix!r}")
    _check_free(app, prefix)
    if settings is None:
        settings = load_settings()
        warn_of_unknown_names()
    _check_folder(app, settings)
    gateway = create_app(settings.model_copy(update={"root_path": ""}), **options)
    below = Attached(gateway, prefix, settings)
    app.mount(prefix, below)
    hosts_lifespan = app.router.lifespan_context

    @asynccontextmanager
    async def both(host: FastAPI) -> AsyncIterator[Any]:
        async with below.running(), hosts_lifespan(host) as state:
            yield state

    app.router.lifespan_context = both
    return gateway


def _check_free(app: FastAPI, prefix: str) -> None:
    scope = {"type": "websocket", "path": prefix + CHAT_PATH, "headers": []}
    for route in app.routes:
        if route.matches(scope)[0] is not Match.NONE:
            taken = getattr(route, "path", "") or "/"
            raise ValueError(f"prefix: the route {taken} takes {prefix} already; attach before it, or choose another")


def _check_folder(app: FastAPI, settings: Settings) -> None:
    folders = {each.settings.data_dir.absolute(): each.prefix for each in attached_to(app)}
    other = folders.get(settings.data_dir.absolute())
    if other is not None:
        raise ValueError(
            f"GATEWAY_DATA_DIR: expected another folder than {settings.data_dir}, which the gateway at {other} has;"
            " give each gateway settings of its own"
        )


def attached_to(app: FastAPI) -> list["Attached"]:
    """List the gateways that an application has below prefixes."""
    return [route.app for route in app.routes if isinstance(route, Mount) and isinstance(route.app, Attached)]


class Attached:
    """Serves the paths below the prefix. For the gateway, this is like a proxy with that prefix."""

    def __init__(self, gateway: FastWebSocketApp, prefix: str, settings: Settings) -> None:
        self.gateway = gateway
        self.prefix = prefix
        self.settings = settings
        self._state: dict[str, Any] | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the gateway's lifespan."""
        async with self.gateway.router.lifespan_context(self.gateway) as state:
            self._state = dict(state or {})
            try:
                yield
            finally:
                self._state = None

    # No coroutine of its own: every message that wakes a WebSocket up would run through it.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve a request or a connection. The host's scope stays unchanged."""
        root_path = scope["root_path"]  # the prefix, after what the host or its server knows
        path = scope["path"]
        # A proxy or a server may have removed the part before the prefix.
        rest = path.removeprefix(root_path if path.startswith(f"{root_path}/") else self.prefix)
        proxy_path = self.settings.root_path
        public = proxy_path + self.prefix if proxy_path else root_path
        state = {**scope.get("state", {}), **(self._state or {})}
        below = {**scope, "root_path": public, "path": public + rest, "state": state}
        for of_the_host in ("router", "app_root_path"):  # they would make the host's URLs
            below.pop(of_the_host, None)
        return self.gateway(below, receive, send)
