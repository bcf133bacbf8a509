"""One migration per change, oldest first."""
