"""`gateway conformance`: plays stories with a client in any language, behind a server that misbehaves.

Read `command` first. A `Story` is data from `clients/stories`. A `Stage` holds what one story needs: a `Driver`, which
is the client's process; an `UnreliableServer` in front of a live gateway, the `World`; and a `Journal` of what the
client did. `steps/` has a class for each kind of step. `docs/conformance.md` has the protocol of drivers.
"""
