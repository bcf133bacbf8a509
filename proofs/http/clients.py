"""The kinds of clients: users and services with a credential, and clients without a good one."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.rig import Person, database_for, person_with_password, populate
from proofs.bar import Scale
from proofs.keys import add_key
from schemas.services import SERVICE_SCOPES

OF_MESSAGES, OF_SERVICES = "^/call/", "^/(api|hook)/"
OF_SESSIONS = "^/users/me/(sessions|password)"
"""What ends the client's own session."""
OF_USERS = f"^/(?!api|hook|call|{OF_SESSIONS[2:]})"
ALL, ALL_OF_USERS = "^/", "^/(?!api|hook|call)"

USER, LISTENER, LEAVER = "walter", "dorothy", "bertram"
"""The users that are clients. No example of the description names them, so no service ends their sessions."""
IN_EXAMPLES = ("alice", "bobby")
"""Users that no client is, so that examples with their names find them."""

_PASSWORD = "nine-green-lamps-over-the-quay"  # noqa: S105 - of a user that the proof makes
_ROUNDS = 4


@dataclass(frozen=True)
class Client:
    """A kind of client, and the paths that it is about."""

    name: str
    paths: str
    bearer: str | None = None
    form: Mapping[str, str] | None = None
    """The form of `POST /token` with its credential. A client with a form and no bearer logs in for each request."""
    is_known: bool = True
    """Whether its credential is good for these paths. Then no answer may be 401."""


async def clients_of(url: str) -> list[Client]:
    """Return the clients, which are made in a new store."""
    user, listener = Person(USER), Person(LISTENER)
    leaver = await person_with_password(LEAVER, _PASSWORD, _ROUNDS)
    people = [user, listener, leaver, *(Person(name) for name in IN_EXAMPLES)]
    database = database_for(url)
    await populate(database, people, {"lobby": people})
    everything = await add_key(database, "everything", *sorted(SERVICE_SCOPES))
    each = {scope: await add_key(database, scope.replace(":", "-"), scope) for scope in sorted(SERVICE_SCOPES)}
    await database.close()
    return [
        Client("a user, on messages", OF_MESSAGES, user.token),
        Client("a user, on the rest", OF_USERS, listener.token),
        Client("a user, on its sessions", OF_SESSIONS, form={"username": LEAVER, "password": _PASSWORD}),
        Client("a service with all scopes", OF_SERVICES, everything, _form("everything", everything)),
        Client("anonymous", ALL, is_known=False),
        *(
            Client(f"a service with {scope}", OF_SERVICES, key, _form(scope.replace(":", "-"), key))
            for scope, key in each.items()
        ),
        Client("a service, on what is for users", ALL_OF_USERS, everything, is_known=False),
        Client("a user, on what is for services", OF_SERVICES, user.token, is_known=False),
        Client("a wrong token", ALL, "a.b.c", is_known=False),
    ]


def _form(service: str, key: str) -> dict[str, str]:
    return {"grant_type": "client_credentials", "client_id": service, "client_secret": key}


def chosen(scale: Scale, setting: str, clients: list[Client]) -> list[Client]:
    """Return the clients that a form of the proof takes. The short one takes one of them in production."""
    if scale is Scale.FULL:
        return clients
    return clients[:5] if setting == "development" else [clients[4]]
