"""The servers that the gateway is compared with, each in the form of its own documentation.

They do less than the gateway: they check no token, validate nothing and store nothing. A message comes back, and a
message in a room goes to all of its members.
"""
