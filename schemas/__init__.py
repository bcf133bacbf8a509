"""The wire: what goes over the socket and the HTTP API, and nothing else.

Only pydantic is imported here. `handlers` builds on it, and `gateway` on both.
"""
