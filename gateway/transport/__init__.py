"""The way of a message between a socket and a session, and of a frame from an outbox to the socket.

Read `frames` first, then `outbox`: one for each connection, bounded. `encoded` makes replies with ready JSON.
`readers` and `writers` are the two ways to read and write, with an ASGI server or without. `newcomers` wait for their
handshake, and `subprotocols` chooses one of those that a client offers. `uvicorn` has the gateway's subclasses of
uvicorn's protocols.
"""
