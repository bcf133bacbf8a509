"""Calls to services: what a message of a route, or a question of the gateway, goes through.

`upstreams` has all routes, and `calls` the way of a message through one: `breaker` lets it go out, a transport carries
it, `streams` reads the pieces of what comes back, `answers` its end, and `effects` does what the service asks for.
`deadlines` has the times of a message, and `figures` counts. `client` sends one signed request and bounds its answer.
`workers` finds a worker of any node for a message, and `worker` has the messages that one of them works on, each an
`open_message`. `authorize` asks about rights in rooms.
"""
