"""Django Channels with its layer in memory: a JSON consumer for the echo, and the chat of its tutorial."""

import json
import secrets
from typing import Any

import django
from channels.generic.websocket import AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import path

GROUP = "everyone"

settings.configure(
    SECRET_KEY=secrets.token_urlsafe(),
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
)
django.setup()


class Echo(AsyncJsonWebsocketConsumer):  # type: ignore[misc]  # its types are not looked at: it may be absent
    """Says everything back."""

    async def receive_json(self, content: object, **_: Any) -> None:
        """Say it."""
        await self.send_json(content)


class Room(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Says everything to all."""

    async def connect(self) -> None:
        """Let one in."""
        await self.channel_layer.group_add(GROUP, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        """Let one out."""
        await self.channel_layer.group_discard(GROUP, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Take what is said, and give it to the group."""
        assert text_data is not None  # noqa: S101 - the load sends no bytes
        await self.channel_layer.group_send(GROUP, {"type": "chat.message", "message": json.loads(text_data)})

    async def chat_message(self, event: dict[str, Any]) -> None:
        """Take what the group is given, and send it."""
        await self.send(text_data=json.dumps(event["message"]))


app = ProtocolTypeRouter(
    {"websocket": URLRouter([path("echo", Echo.as_asgi()), path("room", Room.as_asgi())])},
)
