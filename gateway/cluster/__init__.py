"""The state that nodes share besides the store: presence, limits, and which nodes are alive.

Read `build` first: it builds all of this for one process or for several. `nodes` knows which nodes are alive, and
`dead_nodes` takes the users of dead ones offline. `shared_state` keeps each node's part in Redis. `roster` uses it for
connections and presence. `node_calls` asks the other nodes. `rates` and `throttle` are limits that count for all nodes.
"""
