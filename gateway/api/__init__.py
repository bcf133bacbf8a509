"""Requests that do the gateway's work: what backend services do with their keys, and each message over HTTP.

`calls` takes each message type over HTTP. `openapi` describes these messages and all events. The rest is for services,
with one router for each topic. Read `caller` first: every route begins with the service that calls it. `publish`,
`rooms`, `members`, `messages`, `connections` and `users` (with `user_ids`) have operations and their routes,
`operations` lists them, and `batch` does several. `presence` only reads, and `incoming` is the URL of an incoming
webhook. `strict_route` reads bodies, `pages` has cursors, and `descriptions` describes refusals.
"""
