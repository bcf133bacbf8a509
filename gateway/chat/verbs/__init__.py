"""What a session can do, by topic: rooms, messages, presence, and its credential."""
