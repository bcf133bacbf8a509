"""The connections of this node.

`registry` holds and limits them, `fanout` delivers events to many at once, `revocations` closes ended sessions.
"""
