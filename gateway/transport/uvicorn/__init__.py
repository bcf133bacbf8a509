"""The gateway's subclasses of uvicorn's protocols.

Read `http` first: it reads requests strictly, and passes upgrades on with `handover`. `websocket` reads and writes
frames without ASGI events. `bounds` limits the load that one client can cause. `lost_transport` stands in for a closed
socket. `plain_answers` refuses a request that never reaches the application.
"""
