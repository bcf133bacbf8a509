"""The settings, and the types of their values.

Read `settings` first: every setting with its default. `env_file` reads `.env`, and `extensions` finds the registries of
other packages. Each of the others checks one kind of value: `allowed_origins`, `bus_url` and `database_url` (with
`url_parts`, which takes URLs apart), `external_services`, `internal_hosts`, `proxies`, `unfit_secrets` and
`key_material`.
"""
