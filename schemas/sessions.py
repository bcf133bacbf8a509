"""The sessions of a user, one for each log-in, as `/users/me/sessions` shows them."""

from schemas.base import Timestamp, Wire


class LoginSession(Wire):
    """The session of one log-in. It lasts until `expires_at`, its end by the user, or too long a time without use."""

    id: str
    current: bool
    scopes: tuple[str, ...]
    created_at: Timestamp
    last_used_at: Timestamp
    expires_at: Timestamp
    address: str | None = None
    user_agent: str | None = None


class LoginSessions(Wire):
    """The live sessions of a user, the last used first."""

    sessions: tuple[LoginSession, ...]
