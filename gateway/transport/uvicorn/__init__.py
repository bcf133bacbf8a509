"""The gateway's subclasses of uvicorn's protocols.

Read `http` first: it reads requests strictly, and passes upgrades on with `handover`. `websocket` reads and writes
frames without ASGI events. `bounds` limits the load that one client can cause. `first_bytes` parses a crowd of requests
a few at a time, `first_write` writes the answer to a handshake with the welcome, and `farewell` sends a newcomer away.
`writable` is the flag of a socket that takes more, and `lost_transport` stands in for a closed one. `plain_answers`
refuses a request that never reaches the application.
"""
