"""Who is there: passwords, tokens, and where a connection carries them."""
