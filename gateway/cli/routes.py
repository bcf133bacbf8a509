"""`gateway routes`: checks a routes file without a running gateway."""

from collections.abc import Iterator, Sized
from pathlib import Path
from typing import Annotated

import typer

from gateway.config.extensions import extended
from gateway.config.settings import load_settings
from gateway.core.start_error import StartError
from gateway.routes.file import read
from gateway.routes.model import Authorize, Hook, Route, Routes
from gateway.routes.surroundings import Surroundings
from handlers.registry import BUILT_IN

app = typer.Typer(help="Check the file with routes to services.", no_args_is_help=True)


@app.callback()
def routes() -> None:
    """Keep `check` a command of its own, although it is the only one."""


@app.command()
def check(
    file: Annotated[
        Path | None, typer.Argument(help="The file; without it, the one of GATEWAY_ROUTES.", show_default=False)
    ] = None,
    own_app: Annotated[
        bool, typer.Option("--own-app", help="Accept unknown scopes, which the handlers of your application may need.")
    ] = False,
) -> None:
    """Print each route, hook and the service of rights as the gateway understands them, or all mistakes."""
    settings = load_settings()
    path = file or settings.routes
    if path is None:
        raise StartError("expected a file, got none; name it, or set GATEWAY_ROUTES")
    if file is not None and not file.is_file():
        raise StartError(f"FILE: expected a routes file at {file}, got {'a folder' if file.is_dir() else 'nothing'}")
    registry = None if own_app else extended(BUILT_IN, settings.registry)
    for line in _lines(read(path, Surroundings.of(settings, registry)).routes):
        typer.echo(line)


def _lines(routes: Routes) -> Iterator[str]:
    for route in routes.routes:
        yield from _of_route(route)
    for hook in routes.hooks.values():
        yield from _of_hook(hook)
    if routes.authorize is not None:
        yield from _of_authorize(routes.authorize)
    counts = f"{_count(routes.routes, 'route')}, {_count(routes.hooks, 'hook')}"
    yield f"{counts}, {'an' if routes.authorize else 'no'} [authorize]: no mistakes"


def _count(things: Sized, noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def _of_route(route: Route) -> Iterator[str]:
    kind = "types that begin with" if route.prefix else "the type"
    yield f"{kind} {route.prefix or route.pattern}"
    if route.url is not None:
        yield f"  go to {_shown(route.url)}, signed"
    else:
        yield f"  go to workers of {route.service or 'any service with the scope api:serve'}"
    again = ", again after a failure" if route.idempotent else ""
    yield f"  within {route.timeout_seconds:g} s, {route.parallel} at once{again}"
    if route.ordered:
        yield "  in order: later messages of a connection wait for the answer"
    if route.scope is not None:
        yield f"  for users with the scope {route.scope}"
    if route.rate:
        yield f"  {route.rate:g} a second for each user"
    if route.claims:
        yield f"  with the claims {', '.join(route.claims)}"
    checked = [name for name, schema in (("data", route.data), ("reply", route.reply)) if schema is not None]
    if checked:
        yield f"  with a JSON Schema of {' and '.join(checked)}"
    if route.effects:
        yield f"  may {', '.join(sorted(route.effects))}{_in_rooms(route)}{_by(route)}"


def _in_rooms(route: Route) -> str:
    return f" in {', '.join(route.rooms.texts)}" if route.rooms.texts else ""


def _by(route: Route) -> str:
    return f" as service:{route.service}" if route.service else ""


def _of_hook(hook: Hook) -> Iterator[str]:
    yield f"the hook {hook.name}"
    yield f"  gets {', '.join(sorted(hook.types))} of the rooms {', '.join(hook.rooms.texts)}"
    yield f"  at {_shown(hook.url)}, signed, in the form {hook.format}"
    if "message.unseen" in hook.types:
        yield f"  a message counts as unseen after {hook.unseen_seconds:g} s"


def _of_authorize(authorize: Authorize) -> Iterator[str]:
    yield f"rights to {', '.join(sorted(authorize.actions))} in the rooms {', '.join(authorize.rooms.texts)}"
    yield f"  are asked at {_shown(authorize.url)}, signed, within {authorize.timeout_seconds:g} s"
    if authorize.claims:
        yield f"  with the claims {', '.join(authorize.claims)}"


def _shown(url: str) -> str:
    """Return the URL without its query, which may hold a token."""
    place, question, _ = url.partition("?")
    return f"{place}?…" if question else place
