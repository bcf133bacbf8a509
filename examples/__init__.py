"""Applications that build on the gateway, each in its own folder."""
