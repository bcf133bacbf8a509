"""What a routes file is checked against: the rest of the gateway, and the environment."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from gateway.config.env_file import values_in_file
from gateway.config.settings import Settings
from gateway.routes.urls import Address
from handlers.registry import Registry

ADMIN = "admin"


@dataclass(frozen=True)
class Surroundings:
    """What the gateway itself has, and where it listens."""

    types: frozenset[str] | None = frozenset()
    """The types of messages that have a handler, or None if they are not known here."""
    scopes: frozenset[str] | None = frozenset()
    """The scopes that a route may name beside those of its file, or None if they are not known here."""
    production: bool = False
    addresses: tuple[Address, ...] = ()
    """Where this process listens, as far as it is known."""
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, settings: Settings, registry: Registry | None, addresses: Iterable[Address] = ()) -> Self:
        """Return the surroundings now: `.env` may have changed since the start. Raise `StartError` if it is wrong.

        Without a registry, the types and scopes of an application are not known.
        """
        return cls(
            types=None if registry is None else frozenset(registry.handlers),
            scopes=None if registry is None else _scopes(registry) | settings.default_scopes | {ADMIN},
            production=not settings.development,
            addresses=tuple(addresses),
            variables=values_in_file() | dict(os.environ),
        )


def _scopes(registry: Registry) -> frozenset[str]:
    return frozenset(handler.scope for handler in registry.handlers.values() if handler.scope)
