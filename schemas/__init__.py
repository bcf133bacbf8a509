"""The wire: the data of the socket and of the HTTP API, and nothing else.

This package imports only pydantic. `handlers` builds on it, and `gateway` on both.
"""
