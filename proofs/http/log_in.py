"""Logs in for each request of schemathesis, which loads this file: a request may end the session that it belongs to."""

import json
import os
from typing import Any

import httpx2
import schemathesis

URL, FORM = "PROOF_URL", "PROOF_FORM"
"""The variables with the address of the gateway, and with the form of a log-in as JSON."""


@schemathesis.auth(refresh_interval=None)
class LogIn:
    """Sets a token that no other request has used."""

    def get(self, _case: Any, _context: Any) -> str:
        """Return a new token, or raise `HTTPStatusError`."""
        answer = httpx2.post(f"{os.environ[URL]}/token", data=json.loads(os.environ[FORM]))
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def set(self, case: Any, token: str, _context: Any) -> None:
        """Put the token into the header."""
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {token}"}
