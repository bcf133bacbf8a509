"""A client of json-gateway.

connect        makes a `Gateway`, for `async with`
gateway        one socket at a time, for as long as the program wants it
connection     one socket: its calls, its answers, its heartbeat, and how it ended
opening        opens a socket, and says in words what stands in the way
credential     the token: asked for once at a time, in time, and twice at most after a refusal
returning      whether and when to come back
events         a bounded queue of events for one loop
kinds          what a program names: messages and events, by their model or by their type
model          the bases of messages, replies and events
messages       the gateway's own messages, replies and events; `gateway export python` makes this file
errors         what goes wrong
"""

from gateway_client.credential import TokenRequest
from gateway_client.errors import (
    GatewayError,
    Lost,
    NoToken,
    Overflowed,
    Reconnect,
    Refused,
    UnexpectedReply,
)
from gateway_client.events import Events
from gateway_client.gateway import Gateway, StateChanged, connect
from gateway_client.model import AnyEvent, ClientMessage, Event, StreamingMessage

__version__ = "0.1.0"

__all__ = [
    "AnyEvent",
    "ClientMessage",
    "Event",
    "Events",
    "Gateway",
    "GatewayError",
    "Lost",
    "NoToken",
    "Overflowed",
    "Reconnect",
    "Refused",
    "StateChanged",
    "StreamingMessage",
    "TokenRequest",
    "UnexpectedReply",
    "connect",
]
