"""The verbs of a session by topic: rooms, messages, presence, and its credential."""
