"""The machinery: sockets, tokens, storage and fan-out. It gives the handlers their verbs."""

__version__ = "0.1.0"
