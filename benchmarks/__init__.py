"""Programs that load a real gateway and report figures, or break it and count what is left."""
