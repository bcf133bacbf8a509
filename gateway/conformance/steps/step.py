"""What all steps share."""

from abc import ABC, abstractmethod

from pydantic import BaseModel, ConfigDict

from gateway.conformance.stage import Stage

WAIT_MS = 5000
"""How long a step waits for what must come. A busy machine needs a multiple of what it takes: see `--patience`."""


class Step(BaseModel, ABC):
    """A step of a story. Its first key names its kind."""

    model_config = ConfigDict(extra="forbid", strict=True)

    comment: str = ""

    @abstractmethod
    async def play(self, stage: Stage) -> None:
        """Do it, or raise `Failed`."""
