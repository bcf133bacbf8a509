"""The argument of commands that names a user."""

from typing import Annotated

import typer

from gateway.core.start_error import StartError
from schemas.names import normalized_user_name
from schemas.services import is_service


def _user_name(typed: str) -> str:
    if is_service(typed):
        raise StartError("USER: this is a service, and no user; see: gateway services")
    return normalized_user_name(typed)


Name = Annotated[str, typer.Argument(metavar="USER", show_default=False, callback=_user_name)]


def unknown(name: str) -> StartError:
    """Return the refusal of a name without a user."""
    return StartError(f"there is no user {name}; see: gateway users list")
