"""The WebSocket at `/ws/chat`, from its handshake to the verbs that handlers call.

Read `endpoint` first. `authentication` and `first_message` check the credential, `websocket` reads and writes
messages, `session` is what a handler sees, and `verbs/` carries out its verbs.
"""
