"""The routes file: what it says, its checks, and how a running gateway reads it again.

`model` has what the rest of the gateway sees. `file` reads the file into it: `source` has its bytes, `tables` the form
of its keys, and `checker` the other checks. `reloader` follows its changes. `signatures` signs what goes out to
services, and `json_schema` checks data that a route describes.
"""
