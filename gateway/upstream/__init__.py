"""Calls to services: what a message of a route, or a question of the gateway, goes through.

`client` sends one signed request and bounds its answer. `authorize` asks for rights in rooms. `calls` has what carries
a message to a service.
"""
