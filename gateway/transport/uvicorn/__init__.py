"""Our subclasses of uvicorn's protocols.

`http` reads requests strictly and hands upgrades over (`handover`). `websocket` writes frames directly. `bounds`
limits what one client can make it do. `lost_transport` replaces a socket that is gone.
"""
