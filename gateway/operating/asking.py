"""The person behind a question, as the audit log shows it: the user of the operating system."""

from gateway.core.client_info import ClientInfo
from gateway.core.local_socket import asking_user


def asked_by() -> ClientInfo:
    """Return the entry for the user of this machine whose command has sent the question that is answered now."""
    return entry_of(user_name())


def entry_of(name: str) -> ClientInfo:
    """Return the entry for a user, also of another machine."""
    return ClientInfo("command", f"gateway, run by {name}")


def user_name() -> str:
    """Return the name of that user."""
    number = asking_user.get()
    if number is None:
        return "the owner of the data folder"
    try:
        import pwd  # which not every system has

        return pwd.getpwuid(number).pw_name
    except (ImportError, KeyError):  # accounts in containers may have no name
        return f"user {number}"
