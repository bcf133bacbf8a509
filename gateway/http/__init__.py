"""The HTTP API, with one router for each topic, and what an ASGI application needs around it.

Read `authentication` and `errors` first. The routers: `token`, `revocation`, `introspection`, `well_known`, `tickets`,
`users`, `sessions`, `health`, `metrics`, `client_modules`, `console`, `api_documentation`,
`documents`, `exports`. The middleware: `middleware`, `framing`, `cors`, `request_rate`. `credentials`, `origins` and
`handshake_refusals` serve the WebSocket's handshake too. `bodies`, `forms`, `oauth`, `client_credentials`,
`client_info` and `documented_errors` are parts of routes. `wrong_place` answers a path without a route.
"""
