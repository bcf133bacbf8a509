"""A network of this machine's own: a switch and machines at it, each a namespace with an address.

Links can be cut, in one direction too, and they can be slow. What a cut drops is dropped silently, as by a firewall.
Everything ends with the processes that hold the namespaces, and these with the one that has made them.
"""

import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.lacking import Unavailable

WAIT_SECONDS = 10
PROGRAMS = {"ip": "iproute2", "tc": "iproute2", "nft": "nftables", "nsenter": "util-linux", "setpriv": "util-linux"}
"""What this needs, with the packages of Debian."""

_numbers = itertools.count(1)

_RULES = """\
table inet faults
delete table inet faults
table inet faults {
  chain incoming {
    type filter hook input priority 0
    %s
  }
}
"""


@dataclass(frozen=True)
class Machine:
    """Where a server runs: here, or in a namespace that the words of `enter` lead a command into."""

    address: str = "127.0.0.1"
    enter: tuple[str, ...] = ()


HERE = Machine()


class Network:
    """A switch with machines. This process has a link to it too, which nothing cuts."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        number = (os.getpid() * 7 + next(_numbers)) % 62500
        self._prefix = f"10.{number // 250}.{number % 250}"
        self._tag = f"{os.getpid() % 100000}n{number % 250}"
        self._pids: dict[Machine, int] = {}
        self._dropped: set[tuple[Machine, Machine]] = set()
        self._switch = self._namespace()
        self._in(self._switch, "ip", "link", "add", "name", "switch0", "type", "bridge")
        self._in(self._switch, "ip", "link", "set", "dev", "switch0", "up")
        self._plug_in(None, f"{self._prefix}.254")

    def machine(self) -> Machine:
        """Add a machine."""
        address, pid = f"{self._prefix}.{len(self._pids) + 1}", self._namespace()
        machine = Machine(address, ("nsenter", f"--net=/proc/{pid}/ns/net", "--"))
        self._pids[machine] = pid
        self._in(pid, "ip", "link", "set", "dev", "lo", "up")
        self._plug_in(pid, address)
        return machine

    def cut(self, sender: Machine, receiver: Machine) -> None:
        """Drop all that one machine sends to another; the other direction stays as it is."""
        self._dropped.add((sender, receiver))
        self._write_rules(receiver)

    def part(self, one: Machine, other: Machine) -> None:
        """Drop all between two machines."""
        self.cut(one, other)
        self.cut(other, one)

    def unplug(self, machine: Machine) -> None:
        """Take a machine's link down."""
        self._in(self._switch, "ip", "link", "set", "dev", self._port(machine), "down")

    def throttle(self, machine: Machine, kbit: int) -> None:
        """Let a machine send no faster than this, with a second of packets that wait."""
        rate = ("rate", f"{kbit}kbit", "burst", "4kb", "latency", "1s")
        self._in(self._pids[machine], "tc", "qdisc", "replace", "dev", "eth0", "root", "tbf", *rate)

    def is_throttled(self, machine: Machine) -> bool:
        """Return whether a machine sends no faster than it may."""
        return "tbf" in self._in(self._pids[machine], "tc", "qdisc", "show", "dev", "eth0")

    def mend(self) -> None:
        """End all that was done to links."""
        receivers, self._dropped = {receiver for _, receiver in self._dropped}, set()
        for receiver in receivers:
            self._write_rules(receiver)
        for machine, pid in self._pids.items():
            self._in(self._switch, "ip", "link", "set", "dev", self._port(machine), "up")
            self._in(pid, "tc", "qdisc", "del", "dev", "eth0", "root", check=False)

    def _write_rules(self, receiver: Machine) -> None:
        senders = [sender.address for sender, other in self._dropped if other == receiver]
        rules = "\n".join(f"ip saddr {address} drop" for address in senders)
        self._in(self._pids[receiver], "nft", "-f", "-", text=_RULES % rules)

    def _namespace(self) -> int:
        """Start a process in a namespace of its own, which ends with this process."""
        holder = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"])
        self._stack.callback(holder.wait)
        self._stack.callback(holder.kill)
        ours, until = os.readlink("/proc/self/ns/net"), time.monotonic() + WAIT_SECONDS
        while os.readlink(f"/proc/{holder.pid}/ns/net") == ours:
            if holder.poll() is not None or time.monotonic() > until:
                raise Unavailable("needs network namespaces: to be root, outside of most containers")
            time.sleep(0.002)
        return holder.pid

    def _plug_in(self, pid: int | None, address: str) -> None:
        """Lay a cable from the switch to a machine, or to this process."""
        outer = f"g{self._tag}"
        name, where = ("eth0", ("netns", str(pid))) if pid else (outer, ())
        port = self._port_of(address)
        _run(
            "ip", "link", "add", "name", name, *where, "type", "veth", "peer", "name", port, "netns", str(self._switch)
        )
        self._in(self._switch, "ip", "link", "set", "dev", port, "master", "switch0", "up")
        inside = self._command(pid) if pid else ()
        _run(*inside, "ip", "addr", "add", f"{address}/24", "dev", name)
        _run(*inside, "ip", "link", "set", "dev", name, "up")

    def _port(self, machine: Machine) -> str:
        return self._port_of(machine.address)

    def _port_of(self, address: str) -> str:
        return f"port{address.rpartition('.')[2]}"

    def _in(self, pid: int, *command: str, text: str = "", check: bool = True) -> str:
        return _run(*self._command(pid), *command, text=text, check=check)

    def _command(self, pid: int) -> tuple[str, ...]:
        return ("nsenter", f"--net=/proc/{pid}/ns/net", "--")


def _run(*command: str, text: str = "", check: bool = True) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    if check and done.returncode:
        raise Unavailable(f"needs network namespaces: `{' '.join(command)}` said: {done.stderr.strip()}")
    return done.stdout


@contextmanager
def running_network() -> Iterator[Network]:
    """Make a network, or raise `Unavailable`. It ends with this context."""
    if os.geteuid() != 0 or not Path("/proc/self/ns/net").exists():
        raise Unavailable("needs network namespaces, which need root on Linux")
    if missing := [package for program, package in PROGRAMS.items() if shutil.which(program) is None]:
        raise Unavailable(f"needs the packages {', '.join(sorted(set(missing)))}")
    with ExitStack() as stack:
        yield Network(stack)
