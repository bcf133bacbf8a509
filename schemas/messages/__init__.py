"""The messages of a client and their replies, one module per topic."""
