"""Users with credentials that an external service checks.

`issuers` verifies tokens with `published_keys` and `token_checks`, `introspection` asks the service, and
`app_authorizers` runs an application's own checks. `keys_documents` fetches an issuer's keys, at a URL of the settings
or where `discovery` finds them. `users` makes the user's row, and `user_names` its name. `refusals`
writes for the operator why a token was refused. `identity_provider_client` sends the requests. `build` builds all of
them for the settings.
"""
