"""What an operator sees of a gateway: its numbers in the format of Prometheus.

`workers` puts the texts of several processes together, and `text` makes that of this one. One module for each topic
reads the numbers that their owners count anyway: `connections`, `messages`, `rooms`, `store`, `bus`, `cluster`,
`credentials`, `services`, `webhooks`, `requests` and `process`. `families` has the words for a metric. Nothing here
stores a number. No label ever contains a client's text: a message type is the name of an existing handler.
"""
