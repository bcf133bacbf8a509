"""What a session can do, one module per topic: the verbs that `handlers.base` promises to handlers."""
