"""The connections of this node.

Read `registry` first: it holds and limits them. `fanout` delivers one event to many of them. `revocations` closes them
when their sessions end, and `group_changes` limits them to the rooms of their users' groups.
"""
