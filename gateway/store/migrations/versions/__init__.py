"""One migration for each change, the oldest first."""
