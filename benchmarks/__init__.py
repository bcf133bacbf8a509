"""Programs that load a real gateway and report figures, or kill parts of it and count what is lost."""
