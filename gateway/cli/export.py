"""`gateway export`: writes documents, types and collections of requests for other tools, without a running gateway."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.export_folder import ExportFolder
from gateway.cli.gateway_address import gateway_at
from gateway.core.start_error import StartError
from gateway.documents.catalog import catalog_of
from gateway.documents.exports import FORMATS, Format, files_of
from gateway.documents.place import Files, Place

if TYPE_CHECKING:  # FastAPI takes half a second, and a wrong option needs none of it
    from gateway.chat.fast_route import FastWebSocketApp

STANDARD_OUTPUT = "-"

Output = Annotated[
    str, typer.Option("--output", "-o", metavar="DIR", help="The folder to write to; - prints a single file.")
]
Url = Annotated[str, typer.Option(help="The address of the gateway that the files name.")]
App = Annotated[
    str | None, typer.Option(help="Your application as MODULE:NAME, if it adds handlers itself.", show_default=False)
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files that no export has written.")]

app = typer.Typer(
    help="Write what the gateway understands in the form of another tool: types, documents, collections of requests."
    " Your own messages are in it: of GATEWAY_REGISTRY, of installed packages, of GATEWAY_ROUTES and of --app.",
    no_args_is_help=True,
)


@app.callback()
def _group() -> None:
    """Make each format a command of its own, even a single one."""


def _command(format: Format) -> Callable[..., None]:
    """Return the command that writes a format."""

    def export(output: Output = ".", url: Url = Place.http_url, app: App = None, force: Force = False) -> None:
        address = gateway_at(url)
        files = _files(format, Place(address.http, address.ws), app)
        if output == STANDARD_OUTPUT:
            _print(format, files)
            return
        for path in ExportFolder(Path(output)).write(format.name, files, force=force):
            typer.echo(f"wrote {path}")

    return export


for _format in FORMATS.values():
    _about = f"{_format.about}{' (experimental)' if _format.experimental else ''}."
    app.command(_format.name, help=_about)(_command(_format))


def _files(format: Format, place: Place, reference: str | None) -> Files:
    app = _application(reference)
    return files_of(format, catalog_of(app.registry, app.current_routes()), place, app.openapi)


def _print(format: Format, files: Files) -> None:
    if len(files) > 1:
        raise StartError(f"--output: {format.name} has {len(files)} files; name a folder for them")
    (text,) = files.values()
    typer.echo(text, nl=False)


def _application(reference: str | None) -> "FastWebSocketApp":
    """Return the gateway of the settings, or that of an application of the user's own."""
    sys.path.insert(0, os.getcwd())
    if reference is None:
        from gateway.app import create_app

        return create_app()
    return _gateway_of(reference, _imported(reference))


def _imported(reference: str) -> object:
    from uvicorn.importer import ImportFromStringError, import_from_string

    try:
        return import_from_string(reference)
    except ImportFromStringError as error:
        raise StartError(f"--app: {error}") from None
    except StartError:
        raise
    except (Exception, SystemExit) as error:  # a module may raise anything
        raise StartError(f"--app: cannot import {reference}: {' '.join(str(error).split())}") from None


def _gateway_of(reference: str, found: object) -> "FastWebSocketApp":
    from fastapi import FastAPI

    from gateway.chat.fast_route import FastWebSocketApp
    from gateway.embedding import attached_to

    if isinstance(found, FastWebSocketApp):
        return found
    attached = attached_to(found) if isinstance(found, FastAPI) else []
    if not attached:
        raise StartError(
            f"--app: expected {reference} to be what `create_app` returns, or an application with a gateway attached,"
            f" got {type(found).__name__}"
        )
    return attached[0].gateway
