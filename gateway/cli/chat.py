"""`gateway chat`: a client for the terminal."""


def chat() -> None:
    """Placeholder."""
