"""Requests that do the gateway's work: `calls` takes each message type over HTTP."""
