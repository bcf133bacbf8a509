"""What happens after the death of a node, or under a former name of a living one."""

import asyncio
from pathlib import Path

from gateway.cluster.dead_nodes import BATCH, DeadNodeReaper
from gateway.core.clock import SystemClock
from gateway.store.engine import Database
from tests.gateway.cluster.conftest import RunNode
from tests.support.waiting import until

USERS = 10 * BATCH
"""So many that some are not written anew when the first are looked at."""


async def test_a_node_that_loses_redis_for_a_moment_takes_none_of_its_own_users_for_gone(
    run_node: RunNode, prefix: str, tmp_path: Path
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'gateway.db'}", synchronous="NORMAL")
    await database.upgrade()
    try:
        async with run_node() as node:
            reaper = DeadNodeReaper(
                node.link,
                node.nodes,
                node.shared_state,
                prefix,
                database,
                node.roster,
                SystemClock(),
            )
            node.nodes._reap = reaper.reap
            names = [f"user-{number}" for number in range(USERS)]
            for first in range(0, USERS, BATCH):
                await asyncio.gather(*(node.roster.admit(name, "::1") for name in names[first : first + BATCH]))
            for name in names:
                node.roster.enter_room("lobby", name)
            await node.settled()
            node.news.clear()
            before = node.nodes.id
            node.link.mark_down("no answer")
            await until(lambda: node.nodes.id != before and not node.nodes._former)
            await node.settled()
            assert (node.news, reaper.users_reaped) == ([], 0)
            assert await node.roster.remote_states(names[:1]) == {}
    finally:
        await database.close()
