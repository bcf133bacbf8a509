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


class Echo(AsyncJsonWebsocketConsumer):  # type: ignore[misc]  # mypy skips its types: the package may be absent
    """Sends everything back."""

    async def receive_json(self, content: object, **_: Any) -> None:
        """Send it back."""
        await self.send_json(content)


class Room(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Sends everything to all."""

    async def connect(self) -> None:
        """Add a client to the group."""
        await self.channel_layer.group_add(GROUP, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        """Remove a client from the group."""
        await self.channel_layer.group_discard(GROUP, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Send a message to the group."""
        assert text_data is not None  # noqa: S101 - the load sends no bytes
        await self.channel_layer.group_send(GROUP, {"type": "chat.message", "message": json.loads(text_data)})

    async def chat_message(self, event: dict[str, Any]) -> None:
        """Send a message of the group to the client."""
        await self.send(text_data=json.dumps(event["message"]))


app = ProtocolTypeRouter(
    {"websocket": URLRouter([path("echo", Echo.as_asgi()), path("room", Room.as_asgi())])},
)
