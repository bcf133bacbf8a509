"""Rooms: their subscribers on this node, and the log behind them.

Read `log` first (messages become durable), then `hub` (events reach subscribers) with `room`, the state of one room.
`repair` finds and reads what was missed, with `history_reader`, and `reconciler` compares rooms with the store.
`memory` keeps what a room remembers for joins, with its newest changes in a `window`. `subscriptions` asks the bus for
rooms. `events` makes the events of the log, of the JSON that `encoding` makes. `appending` gathers the pieces that a
message grows by, `growth` adds them, and `grown_events` puts them together for the window. `finder` finds rooms for
many users at once, and `room_pages` reads lists. `presence`, `last_seen` and `typing` show what users do, and
`connection_directory` finds and closes connections of all nodes. `hooks` calls handlers when a membership or a room has
ended. `retention` and `removal` remove old messages and deleted rooms. `rules` has the roles for each action. `changes`
applies many changes at once: `message_changes` and `membership_changes`. `batch` has what these share. `outgoing`
stores events for other services beside them. `service_changes` and `service_events` are what services do, and
`service_senders` has the services that an application speaks as. `user_deletion` deletes a user, and `export` writes
what the store has about a user or a room. `outside_events` takes the events of commands that change the store.
"""
