"""What the gateway is measured against, each as its own documentation would write it.

They do less than the gateway: no token is checked, nothing is validated and nothing is stored. What is said comes back,
and what is said in a room goes to everyone in it.
"""
