"""What services send to the HTTP API, and what they get. One module for each topic."""
