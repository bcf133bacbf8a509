"""The services that an application speaks as."""

import asyncio
import json
from pathlib import Path

import pytest
from sqlalchemy import Connection

from gateway.core.audit import Audit
from gateway.rooms.service_senders import AppSenders
from gateway.store import services
from gateway.store.engine import Database
from gateway.testing import MovableClock


@pytest.mark.both_stores
async def test_nodes_that_speak_for_the_first_time_at_once_speak_as_one_service(
    database: Database, tmp_path: Path
) -> None:
    clock, path = MovableClock(), tmp_path / "audit.log"
    with Audit(path, clock) as audit:
        nodes = [AppSenders(database, audit, clock) for _ in range(5)]
        found = await asyncio.gather(*(node.get("assistant") for node in nodes), nodes[0].get("other"))
    assert len(set(found)) == 2
    assert (found[0].name, found[-1].name) == ("service:assistant", "service:other")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted((line["event"], line["user"], line["address"]) for line in lines) == [
        ("service_added", "service:assistant", "application"),
        ("service_added", "service:other", "application"),
    ]


async def test_a_service_of_the_operator_keeps_its_scopes_and_keys(database: Database) -> None:
    def add(connection: Connection) -> services.ServiceRow:
        return services.add(connection, name="orders", kind="service", scopes=("api:rooms",), rooms=None, now=0)

    added = await database.transact(add)
    sender = await AppSenders(database, Audit(None, MovableClock()), MovableClock()).get("orders")
    assert sender.user_id == added.user_id
    assert await database.query(lambda store: services.find(store, "orders")) == added
