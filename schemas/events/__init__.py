"""The events that the gateway sends by itself, one module per topic."""
