"""The gateway with an assistant: `gateway serve --app examples.assistant.app:app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from fastapi import FastAPI
from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway import create_app, publisher_of
from handlers import BUILT_IN

from .ask import Assistant, registry
from .completions import Completions


class AssistantSettings(BaseSettings):
    """The service, from the environment. The defaults are a model on this machine, behind Ollama."""

    model_config = SettingsConfigDict(env_prefix="ASSISTANT_")

    url: str = "http://127.0.0.1:11434/v1"
    model: str = "llama3.2"
    key: SecretStr | None = None
    seconds: float = 30
    """How long the service may be silent."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[Assistant]:
    """Keep the connections to the service open while the gateway runs."""
    settings = AssistantSettings()
    headers = {} if settings.key is None else {"Authorization": f"Bearer {settings.key.get_secret_value()}"}
    async with httpx2.AsyncClient(base_url=settings.url, headers=headers, timeout=settings.seconds) as http:
        yield Assistant(Completions(http, settings.model), publisher_of(app).sender("assistant"))


app = create_app(registry=BUILT_IN | registry, lifespan=lifespan)
