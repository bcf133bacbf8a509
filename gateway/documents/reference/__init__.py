"""The page at `/docs/messages`: every message, event, status and close code, with examples.

`page` puts it together: the `sidebar`, the `entries` of messages and events, and the `tables` of codes. `fields` shows
a schema, `rules` what it says about several fields, and `samples` the examples. All of them make `html`, which escapes
each text. The page's script and style are the files beside them.
"""
