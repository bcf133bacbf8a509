"""Rooms: their subscribers on this node, and the log behind them.

Read `log` first (messages become durable), then `hub` (events reach subscribers) with `room`, the state of one room.
`repair` finds and reads what was missed, with `history_reader`, and `reconciler` compares rooms with the store.
`subscriptions` asks the bus for rooms. `events` makes the events of the log. `presence`, `last_seen` and `typing` show
what users do. `hooks` calls handlers when a membership or a room has ended. `retention` and `removal` remove old
messages and deleted rooms. `rules` has the roles for each action. `changes` applies many changes at once, to messages
and to memberships, and `batch` has what these share.
"""
