"""Passwords that attackers guess first, although they pass the other rules (ASVS 6.2.4)."""

from functools import cache
from importlib import resources


def common_problem(password: str, user_name: str) -> str | None:
    """Return why a new password is easy to guess, or None."""
    folded = password.lower()
    if folded in _common():
        return "expected a password that is not among the most common ones; a few words that do not belong together do"
    if user_name in {folded, folded[::-1]}:
        return "expected a password that is not the user name, nor that backwards"
    return None


@cache
def _common() -> frozenset[str]:
    text = resources.files(__package__).joinpath("common_passwords.txt").read_text(encoding="utf-8")
    return frozenset(line for line in text.splitlines() if not line.startswith("# "))
