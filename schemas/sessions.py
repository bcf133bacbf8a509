"""The sessions of a user: what each log-in began, as `/users/me/sessions` shows it."""

from schemas.base import Timestamp, Wire


class LoginSession(Wire):
    """What one log-in began. It lives until `expires_at`, or until it is ended or left unused for too long."""

    id: str
    current: bool
    scopes: tuple[str, ...]
    created_at: Timestamp
    last_used_at: Timestamp
    expires_at: Timestamp
    address: str | None = None
    user_agent: str | None = None


class LoginSessions(Wire):
    """The sessions of a user that live, the one used last first."""

    sessions: tuple[LoginSession, ...]
