"""The verbs of a session by topic: rooms, messages, presence, and its credential.

Read `messages` first. `rooms` has `joins` of one room and `resuming` of many, whose replies `join_replies` makes.
`unheard_rooms` are those of a message over HTTP, which needs no connection. `room_transactions` has the verbs that
change a room in the store.
"""
