"""The WebSocket at `/ws/chat`, from its handshake to the verbs that handlers call.

Read `endpoint` first. `fast_route` leads there past FastAPI, with `plain_dependencies`. `authentication` and
`first_message` check the credential, `websocket` reads and writes messages, and `own_rooms` lists rooms for the
welcome. `admission` counts a connection, `session` is what a handler sees, and `verbs/` carries out its verbs.
`call_session` is the same for one message over HTTP, and `user_session` what both share. `workers/` has the WebSocket
of services.
"""
