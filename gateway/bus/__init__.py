"""The bus: how nodes notify each other of what has happened.

Read `base` first: the Protocol and what it guarantees. `memory` is the bus of one process. `redis` is the bus of
several nodes, with its connections in `links`, its messages in `codec`, and the client in `redis_client`. `outside` is
the bus of a command beside a gateway without a shared one. `redis_commands` runs commands in the same Redis for
`gateway/cluster`.
"""
