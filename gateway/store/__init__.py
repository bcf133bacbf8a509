"""The truth, in SQL. One module per table family; each function takes a connection, whose owner commits."""
