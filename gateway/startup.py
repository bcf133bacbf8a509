"""Why a start can fail."""


class StartError(Exception):
    """The gateway cannot start. The text is for the operator: what is wrong, and what to do about it."""
