"""What nodes share besides the store."""
