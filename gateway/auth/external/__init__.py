"""Users with credentials that an external service checks.

`issuers` verifies tokens with `published_keys`; `introspection` asks the service. `users` makes the user's row.
"""
