"""What the gateway tells without being asked, one module per topic."""
