"""A service in place of a model, to try the assistant: it repeats the prompt, word by word.

uvicorn examples.assistant.stand_in:app --port 11434
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

WORD_SECONDS = 0.2

app = FastAPI()


class Question(BaseModel):
    """What the assistant asks."""

    model: str
    messages: list[dict[str, str]]


def event(delta: dict[str, Any]) -> str:
    """Return one part of an answer, as such services write it."""
    return f"data: {json.dumps({'choices': [{'index': 0, 'delta': delta}]})}\n\n"


@app.post("/v1/chat/completions")
async def complete(question: Question) -> StreamingResponse:
    """Answer with the words of the prompt."""

    async def words() -> AsyncIterator[str]:
        yield event({"role": "assistant"})
        for word in f"You said: {question.messages[-1]['content']}".split():
            yield event({"content": f"{word} "})
            await asyncio.sleep(WORD_SECONDS)
        yield "data: [DONE]\n\n"

    return StreamingResponse(words(), media_type="text/event-stream")
