"""How long the client waits. Only tests, and links that are slow, need other values."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Times:
    """Seconds."""

    open: float = 15.0
    """The longest wait for a socket."""
    welcome: float = 15.0
    """The longest wait for the first event."""
    answer: float = 60.0
    """The longest wait for the rooms of a new connection. After it, the socket is given up."""
    ping: float = 5.0
    """The longest wait for an answer to a ping. After it, the client closes the socket."""
    heartbeat: float | None = None
    """The client asks after a silence of two of these. The default is what the welcome says."""
    watch: float = 5.0
    """How often to look for silence. The client notices as soon that the machine has slept."""
    bye: float = 5.0
    """How long a gateway may take to close after its `bye`."""
    close: float = 2.0
    """The longest wait for an orderly close."""
    token: float = 30.0
    """The longest wait for `get_token`."""
    margin: float = 60.0
    """A token that ends so soon is not used for a new connection."""
    rest: float = 10.0
    """The shortest time between two tokens of one connection: some gateways announce the end of a new token at once."""
    first_delay: float = 1.0
    """The longest delay before the first attempt to come back. Each further one may take twice as long."""
    longest_delay: float = 30.0
    settled: float = 5.0
    """A connection that has lasted so long was good: the delays begin anew after it."""

    def scaled(self, factor: float) -> "Times":
        """Return shorter or longer waits. What tokens and gateways ask for stays as it is."""
        waits = "open welcome answer ping watch token rest first_delay longest_delay settled"
        scaled = replace(self, **{name: getattr(self, name) * factor for name in waits.split()})
        return replace(scaled, heartbeat=(self.heartbeat or HEARTBEAT_SECONDS) * factor)


HEARTBEAT_SECONDS = 25.0
"""The heartbeat of a gateway that names none."""
