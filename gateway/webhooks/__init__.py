"""Events for other services: stored with what they are about, and sent until their receiver has them.

Read `writer` first (which events are stored), then `dispatcher` (how the events of one hook are sent). `leases` decides
which node sends them, `delivery` makes one attempt, `backoff` says when the next one follows, and `settling` stores
what has come of them. `unseen` makes the events about unread messages when they are due. `comings` stores the events
about users and rooms. `webhooks` runs all of it for the hooks of the routes file.
"""
