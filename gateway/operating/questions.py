"""All that an operator can ask a running gateway."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from gateway.operating.all_nodes import AllNodes
from gateway.operating.announcing import Announcements
from gateway.operating.draining import Draining
from gateway.operating.kick import Kicks
from gateway.operating.log_levels import LogLevels
from gateway.operating.restarting import Restarting
from gateway.operating.status import StatusQuestions
from gateway.operating.tails import Tails
from gateway.state import GatewayState


@asynccontextmanager
async def answered(state: GatewayState) -> AsyncIterator[None]:
    """Answer all questions over the local socket while the context lasts."""
    all_nodes = AllNodes(state.local_socket, state.node_calls)
    async with AsyncExitStack() as stack:
        log_levels = stack.enter_context(LogLevels(state.audit, all_nodes).running())
        await stack.enter_async_context(Draining(state.connections, state.node_calls, state.audit, all_nodes).running())
        Restarting(state.local_socket, state.audit)
        StatusQuestions(state, log_levels, all_nodes)
        Kicks(state.connections, state.login_sessions, state.database, state.audit, all_nodes)
        Announcements(state.hub, state.room_finder, state.audit, state.clock, state.settings, all_nodes)
        Tails(state.taps, state.local_socket, state.node_calls, state.audit, state.clock)
        await state.local_socket.listen(state.settings.data_dir)
        stack.push_async_callback(state.local_socket.close)
        yield
