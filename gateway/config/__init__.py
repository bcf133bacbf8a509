"""The settings, and the types that their values have.

Start with `settings`. `env_file` reads `.env`; the other modules each check one kind of value.
"""
