"""The user of the chat: registers and logs in over HTTP."""

from typing import Any, Self

import httpx2

from gateway.cli.chat.wording import clean, explain
from gateway.cli.gateway_address import GatewayAddress
from gateway.core.start_error import StartError

ANSWER_SECONDS = 15
"""Enough time for a busy gateway to hash a password."""


class NotNow(Exception):
    """The gateway is out of reach or busy. A later attempt may succeed."""


class Account:
    """A user of a gateway. It keeps the password for a new log-in after the token has expired."""

    def __init__(self, place: GatewayAddress, user: str, password: str) -> None:
        self.address = place
        self.user = user
        self.token: str | None = None
        self._refresh_token: str | None = None
        self._password = password
        self._http = httpx2.AsyncClient(timeout=ANSWER_SECONDS, trust_env=not place.local)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def register(self) -> None:
        """Register, unless the name is taken, or raise `StartError`."""
        answer = await self._post("/users", json={"username": self.user, "password": self._password})
        if answer.status_code == httpx2.codes.FORBIDDEN:
            raise StartError(f"cannot register: {_words(answer)}; if you have an account, leave out --register")
        if answer.status_code not in (httpx2.codes.CREATED, httpx2.codes.CONFLICT):
            raise StartError(f"cannot register: {_words(answer)}")

    async def log_in(self) -> None:
        """Get a token. Raise `StartError` for a refusal, and `NotNow` if a later attempt may succeed."""
        answer = await self._post("/token", data={"username": self.user, "password": self._password})
        if answer.status_code == httpx2.codes.UNAUTHORIZED:
            raise StartError(f"cannot log in: {_words(answer)}; new here? add --register")
        if answer.status_code != httpx2.codes.OK:
            raise StartError(f"cannot log in: {_words(answer)}")
        self._keep(_json(answer))

    async def renew(self) -> None:
        """Get the next token of the same session, or else of a new one. Raise what `log_in` raises."""
        if self._refresh_token is not None:
            form = {"grant_type": "refresh_token", "refresh_token": self._refresh_token}
            answer = await self._post("/token", data=form)
            if answer.status_code == httpx2.codes.OK:
                self._keep(_json(answer))
                return
            self._refresh_token = None
        await self.log_in()

    def _keep(self, grant: dict[str, Any]) -> None:
        self.token, self._refresh_token = grant.get("access_token"), grant.get("refresh_token")
        if not isinstance(self.token, str):
            raise StartError(f"{self.address.http} is not a gateway; is the path right?")

    async def _post(self, path: str, **content: Any) -> httpx2.Response:
        try:
            answer = await self._http.post(self.address.http + path, **content)
        except httpx2.TimeoutException:
            raise self._unreachable("it does not answer") from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self._unreachable(clean(str(error)) or "it closes the connection") from None
        if answer.status_code == httpx2.codes.NOT_FOUND:
            raise StartError(f"there is no gateway at {self.address.http}; is the path right?")
        if answer.status_code == httpx2.codes.TOO_MANY_REQUESTS or answer.is_server_error:
            raise NotNow(_words(answer))
        return answer

    def _unreachable(self, reason: str) -> NotNow:
        return NotNow(f"cannot reach {self.address.http} ({reason}); does the gateway run?")


def _json(answer: httpx2.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        body = None
    return body if isinstance(body, dict) else {}


def _words(answer: httpx2.Response) -> str:
    body = _json(answer)
    words = explain(body) if "message" in body else f"HTTP {answer.status_code}"
    wait = answer.headers.get("retry-after", "")
    return f"{words}; try again in {wait} s" if wait.isdecimal() else words
