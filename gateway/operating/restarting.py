"""`gateway restart`: new workers take the place of the old ones, one after another."""

import multiprocessing
import os
import signal

from gateway.core import worker_place
from gateway.core.audit import Audit
from gateway.core.local_socket import Data, LocalFailed, LocalSocket
from gateway.operating.asking import asked_by


class Restarting:
    """Asks the supervisor of this worker to replace its workers.

    The worker sends the signal, and not the command: only they surely see each other's process ids, in a container too.
    """

    def __init__(self, local_socket: LocalSocket, audit: Audit) -> None:
        self._audit = audit
        local_socket.serve("restart", self._restart)

    async def _restart(self, _: Data) -> Data:
        supervisor = multiprocessing.parent_process()
        if worker_place.mine is None or supervisor is None or supervisor.pid is None:
            raise LocalFailed(
                "this gateway has no workers that could take turns: send its clients away with `gateway drain`, and"
                " start its process again"
            )
        os.kill(supervisor.pid, signal.SIGUSR1)
        self._audit.record("workers_replaced", asked_by())
        return {"workers": worker_place.mine.count}
