"""What is known of each hook of the routes file: the node that sends its events, and whether its receiver answers."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from gateway.store.tables import webhook_presence, webhooks


@dataclass(frozen=True, slots=True)
class WebhookRow:
    """A hook as stored. Times are milliseconds since 1970."""

    name: str
    owner: str = ""
    """The node that sends its events, or empty."""
    beat: int = 0
    """A number that changes while that node lives."""
    disabled_at: int | None = None
    failed_at: int | None = None
    last_error: str | None = None


def list_all(connection: Connection) -> dict[str, WebhookRow]:
    """Return all hooks by name."""
    return {row.name: WebhookRow(**row._mapping) for row in connection.execute(select(webhooks))}


def add(connection: Connection, names: Collection[str]) -> None:
    """Store hooks that are not stored yet."""
    missing = sorted(set(names) - set(connection.execute(select(webhooks.c.name)).scalars()))
    if not missing:
        return
    values = [{"name": name} for name in missing]
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql  # the other database needs none of it

        # Another node may store it at this moment.
        connection.execute(postgresql.insert(webhooks).on_conflict_do_nothing(), values)
    else:
        connection.execute(insert(webhooks), values)


def take(connection: Connection, seen: WebhookRow, owner: str) -> bool:
    """Let a node send a hook's events, unless its owner or its beat has changed since it was seen."""
    same = (webhooks.c.name == seen.name) & (webhooks.c.owner == seen.owner) & (webhooks.c.beat == seen.beat)
    return connection.execute(update(webhooks).where(same).values(owner=owner, beat=webhooks.c.beat + 1)).rowcount == 1


def beat(connection: Connection, name: str, owner: str) -> bool:
    """Show that the owner of a hook lives, and return whether it still is the owner."""
    mine = (webhooks.c.name == name) & (webhooks.c.owner == owner)
    return connection.execute(update(webhooks).where(mine).values(beat=webhooks.c.beat + 1)).rowcount == 1


def release(connection: Connection, name: str, owner: str) -> None:
    """Leave a hook to the other nodes."""
    mine = (webhooks.c.name == name) & (webhooks.c.owner == owner)
    connection.execute(update(webhooks).where(mine).values(owner="", beat=webhooks.c.beat + 1))


def note_failure(connection: Connection, name: str, error: str, now: int, *, disables: bool = False) -> None:
    """Store why a delivery has failed, and whether this disables the hook."""
    change = {"last_error": error, "failed_at": now} | ({"disabled_at": now} if disables else {})
    connection.execute(update(webhooks).where(webhooks.c.name == name).values(change))


def enable(connection: Connection, name: str) -> bool:
    """Enable a hook, and return whether there is one of this name."""
    change = update(webhooks).where(webhooks.c.name == name).values(disabled_at=None)
    return connection.execute(change).rowcount == 1


def forget(connection: Connection, name: str) -> None:
    """Remove a hook and what it has been told."""
    connection.execute(delete(webhook_presence).where(webhook_presence.c.webhook == name))
    connection.execute(delete(webhooks).where(webhooks.c.name == name))


def told(connection: Connection, name: str, kind: str, after: str, limit: int) -> list[str]:
    """List the users or rooms that a hook knows as connected or occupied, in the order of names."""
    mine = (webhook_presence.c.webhook == name) & (webhook_presence.c.kind == kind) & (webhook_presence.c.name > after)
    query = select(webhook_presence.c.name).where(mine).order_by(webhook_presence.c.name).limit(limit)
    return list(connection.execute(query).scalars())


def forget_told(connection: Connection, names: Collection[str]) -> None:
    """Forget what hooks have been told, except those of these names."""
    connection.execute(delete(webhook_presence).where(webhook_presence.c.webhook.not_in(sorted(names))))


def lock(connection: Connection, name: str) -> None:
    """Lock a hook until the end of the transaction."""
    connection.execute(select(webhooks.c.name).where(webhooks.c.name == name).with_for_update())


def tell(connection: Connection, name: str, kind: str, new: Collection[str], gone: Collection[str]) -> None:
    """Remember that a hook is told of new users or rooms, and that others are gone. Lock the hook first."""
    if gone:
        mine = (webhook_presence.c.webhook == name) & (webhook_presence.c.kind == kind)
        connection.execute(delete(webhook_presence).where(mine, webhook_presence.c.name.in_(gone)))
    if new:
        connection.execute(
            insert(webhook_presence), [{"webhook": name, "kind": kind, "name": each} for each in sorted(new)]
        )


def know(connection: Connection, name: str, kind: str, about: Sequence[str]) -> set[str]:
    """Return those of some users or rooms that a hook knows."""
    mine = (webhook_presence.c.webhook == name) & (webhook_presence.c.kind == kind)
    query = select(webhook_presence.c.name).where(mine, webhook_presence.c.name.in_(about))
    return set(connection.execute(query).scalars())
