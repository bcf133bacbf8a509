"""`gateway new`: write the files of a new message type.

`project` knows where they belong, `templates` what is in them, and `registry_file` adds the type to the registry.
"""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.new.project import find_project
from gateway.cli.new.registry_file import REGISTRY, Entry, with_entry
from gateway.cli.new.templates import Message
from gateway.core.start_error import StartError

app = typer.Typer(help="Write the files of a new message type.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Write the files of a new message type."""


@app.command()
def handler(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The message type, such as poll.vote.")],
    package: Annotated[str | None, typer.Option(help="Your package, if there are several here or none yet.")] = None,
) -> None:
    """Write schema, handler, test and the line of the registry; change no other file."""
    message = Message(name)
    project = find_project(Path.cwd(), package)
    written = project.files(message)
    for path in written:
        if path.exists():
            raise StartError(f"{_shown(path)} exists; choose another name, or remove the file")
    registry = project.registry_file
    source = registry.read_text(encoding="utf-8") if registry.exists() else REGISTRY
    entry = Entry(message.type, project.module(message), message.handler)
    changed = with_entry(source, entry, place=_shown(registry), taken=project.taken_types())
    for path, text in {**project.packages(), **written, registry: changed}.items():
        _write(path, text)
    typer.echo(project.next_step(message))


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StartError(f"cannot write {_shown(path)} ({error.strerror})") from None
    typer.echo(f"wrote {_shown(path)}")


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd()))
