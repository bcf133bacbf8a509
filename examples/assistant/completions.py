"""A client of any HTTP service with OpenAI's chat completions: the text of an answer, as fast as it comes."""

import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import httpx2
from pydantic import BaseModel, ValidationError

from handlers import AppError

logger = logging.getLogger(__name__)

END = "[DONE]"
MAX_EVENT_BYTES = 64 * 1024
"""The longest part of an answer. A part is a few characters."""


class AssistantUnavailable(AppError):
    """The service is down, too slow, or does not say what it should."""

    status = 60001
    retryable = True
    http_status = 503

    def __init__(self) -> None:
        super().__init__("the assistant cannot answer at this moment; try again later")


class AssistantBusy(AppError):
    """The service has too much to do."""

    status = 60002
    retryable = True
    http_status = 429

    def __init__(self) -> None:
        super().__init__("the assistant has too much to do; try again in a minute")


class Delta(BaseModel):
    """What a part adds to the answer."""

    content: str | None = None


class Choice(BaseModel):
    """One of the answers. This application asks for one."""

    delta: Delta


class Part(BaseModel):
    """One event of the service's stream. The last ones may have figures in place of a choice."""

    choices: list[Choice]

    @property
    def text(self) -> str:
        """Return the text that this part adds, which may be empty."""
        # A message of the gateway cannot have U+0000.
        return "".join(choice.delta.content or "" for choice in self.choices).replace("\0", "")


@dataclass(frozen=True)
class Completions:
    """A service, and the model to ask there."""

    http: httpx2.AsyncClient
    model: str

    async def stream(self, prompt: str) -> AsyncGenerator[str]:
        """Yield the answer to a prompt, piece by piece. Close the generator to cancel the request.

        Raise `AssistantBusy` or `AssistantUnavailable`, also in the middle. Only the log has the reason.
        """
        question = {"model": self.model, "stream": True, "messages": [{"role": "user", "content": prompt}]}
        try:
            events = self.http.sse("chat/completions", method="POST", json=question, max_event_size=MAX_EVENT_BYTES)
            async with events as source:
                _check_status(source.response.status_code)
                async for event in source:
                    if event.data == END:
                        return
                    if text := Part.model_validate_json(event.data).text:
                        yield text
        except httpx2.HTTPError as error:
            raise _unavailable(type(error).__name__) from None
        except ValidationError:
            raise _unavailable("it sent something that is no part of an answer") from None
        raise _unavailable(f"its answer ended without {END}")


def _check_status(status: int) -> None:
    if status == httpx2.codes.TOO_MANY_REQUESTS:
        raise AssistantBusy
    if status != httpx2.codes.OK:
        raise _unavailable(f"it answered {status}")


def _unavailable(reason: str) -> AssistantUnavailable:
    logger.warning("the assistant's service failed: %s", reason)
    return AssistantUnavailable()
