"""How frames get from here to a socket."""
