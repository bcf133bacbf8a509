"""Authentication: passwords, tokens, sessions, tickets and keys."""
