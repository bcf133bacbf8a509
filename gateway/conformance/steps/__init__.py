"""The steps of stories: one class for each kind, with the fields that the data may have.

`step.py` has what all share, `client.py` what the client is asked to do, `server.py` how the server misbehaves,
`gateway.py` what happens at the live gateway, and `expectations.py` what the client must have done.
"""
