"""The keys that sign and verify our tokens.

`key_ring` picks the key, `key_files` reads and writes the files, `signatures` is the one module that knows python-jose.
"""
