"""The WebSocket at `/ws/service`: services connect to it, and get the messages of the routes that they serve.

Read `endpoint` first. `authentication` checks the key, `session` is one connection, and `messages` has what a worker
may send. `gateway/upstream/workers.py` chooses the worker of a message.
"""
