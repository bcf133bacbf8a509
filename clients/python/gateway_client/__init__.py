"""A client of json-gateway.

gateway        what a program says and hears; `connect` makes it
room           a room, as a program uses it
growing        a message of the user's own that grows
stream         an answer that comes in chunks
line           one connection after the other, for as long as the program wants one
rooms          which rooms it hears, and how all of them resume at once
room_log       the client's copy of a room: its position and its newest messages
connection     one socket: its calls, its answers, its heartbeat, and how it ended
opening        opens a socket, and says in words what stands in the way
credential     the token: asked for once at a time, in time, and twice at most after a refusal
returning      whether and when to come back
hub            delivers events to the loops that want them
events         a bounded queue of events for one loop
kinds          what a program names: messages and events, by their model or by their type
messages       the gateway's own messages, replies and events; `gateway export python` makes this file
model          the bases of messages, replies and events
address        the address of the WebSocket
times, clock   how long the client waits; how much time has passed, also while the machine slept
errors         what goes wrong
"""

from gateway_client.connection import traceparent
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
from gateway_client.gateway import Gateway, connect
from gateway_client.growing import Growing
from gateway_client.line import StateChanged
from gateway_client.messages import Position
from gateway_client.model import AnyEvent, ClientMessage, Event, StreamingMessage
from gateway_client.room import Room
from gateway_client.room_log import Gap
from gateway_client.stream import Stream
from gateway_client.times import Times

__version__ = "1.0.0rc1"

__all__ = [
    "AnyEvent",
    "ClientMessage",
    "Event",
    "Events",
    "Gap",
    "Gateway",
    "GatewayError",
    "Growing",
    "Lost",
    "NoToken",
    "Overflowed",
    "Position",
    "Reconnect",
    "Refused",
    "Room",
    "StateChanged",
    "Stream",
    "StreamingMessage",
    "Times",
    "TokenRequest",
    "UnexpectedReply",
    "connect",
    "traceparent",
]
