"""The HTTP API, one router per topic."""
