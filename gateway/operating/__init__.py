"""What an operator asks a running gateway, with `gateway status`, `tail`, `kick`, `announce`, `drain` and the like.

`questions` lists them all. Each comes through the local socket of one process, and `all_nodes` passes it to the others.
"""
