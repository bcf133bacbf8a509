"""The store: users, sessions, rooms and messages in SQL, in SQLite or PostgreSQL.

Read `engine` first (`Database`: the two ways to the store, and failures), then `tables`. `users`, `login_sessions`,
`services`, `tickets`, `rooms`, `invitations` and `messages` have the functions for their tables. Each takes a
connection, and the caller commits. `outgoing_events` and `webhooks` are about events for other services. `writes`,
`membership_writes`, `pruning`, `renewal` and `storage` change several tables. `deleted_users`, `user_records` and
`senders` are what deletions and exports of users read and change. `prepared` compiles the statements for
what every message needs. `message_pages` and `room_pages` have those of lists, and `grouped_reads` asks for many
callers with one statement. `drivers` says what a driver does. `sqlite_driver`, with its `threads`, and
`postgresql_driver` do it. `sqlite_file`, `open_files`, `backup`, `postgresql`, `failures` and `write_health` look after
the database itself; `versions`, `revisions` and `migrations` after its tables.
"""
