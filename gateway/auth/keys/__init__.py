"""The keys that sign and verify tokens.

`key_ring` picks the key of our own tokens, and `key_files` reads and writes the files. `signatures` is the one module
that knows python-jose, and `verifiers` has the algorithms that it lacks. `public_keys` reads and checks public keys,
with `edwards` for points and `base64url` for text.
"""
