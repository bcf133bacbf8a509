"""Authentication: passwords, tokens, sessions, tickets and keys, without HTTP and without WebSockets.

Read `authorizers` first: they turn a credential into a user and its scopes, with `user_rights`. `tokens` signs and
verifies access tokens with the keys in `keys/`. `sessions` begins, extends and ends login sessions, with
`refresh_tokens`. `password_login` checks passwords with `passwords`, `common_passwords` and `throttle`. `tickets` open
one connection. `services` authenticates backend programs by their `service_keys`, and sells them tokens. `room_rights`
says what a token allows in which rooms, and `groups` gives users such rights. `external/` checks the credentials of
external services.
"""
