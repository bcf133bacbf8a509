"""The servers that the gateway is compared with, each in the form of its own documentation.

They do less than the gateway. Those of the transport check no token, validate nothing and store nothing: a message
comes back, and a message in a room goes to all of its members. Those with rooms check the gateway's own tokens and keep
the newest messages of a room in memory. No peer has a durable membership or message.
"""
