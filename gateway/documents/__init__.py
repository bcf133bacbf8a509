"""Documents about the messages of a gateway, for people, tools and generators of code.

Read `catalog` first: all that a registry and the routes say, as plain data. Each format is a module of its own with
one function, which makes files out of the catalog and a `place`. `exports` is the table of all formats.
`described_calls` and `described_errors` read what the catalog says, `examples` makes an example where none is
written, and `components` makes the JSON Schemas: `wire_schema` from models, and `newest_draft` from a routes
file. `typescript` has `typescript_types`, and `either_or` divides an object by its rules. `python_models` has
`python_types` and `python_names`. `asyncapi`, and `asyncapi_2` for older readers, has `frames` and the `handshake`,
and `draft07` writes its schemas. `reference` is the page at `/docs/messages`. `topics`, `names`, `schema_words`,
`markdown` and `plain` are for all formats.
"""
