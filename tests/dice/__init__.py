"""A small application that builds on the gateway, and its tests, as the documents show them."""
