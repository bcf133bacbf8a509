"""What goes through the gateway to a service behind a route, and back."""

from typing import Any

from pydantic import ConfigDict, RootModel


class UpstreamData(RootModel[dict[str, Any]]):
    """The data of a message for a service: any object. The route may have a JSON Schema for it."""

    model_config = ConfigDict(frozen=True, strict=True)


class UpstreamReply(RootModel[dict[str, Any]]):
    """The reply's data of a service: any object."""

    model_config = ConfigDict(frozen=True, strict=True)
