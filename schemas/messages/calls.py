"""`cancel`."""

from pydantic import ConfigDict

from schemas.base import CorrelationId, Wire


class CancelMessage(Wire):
    """Cancel an earlier message of this connection, which has this `id` and is in progress."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": 7}]})

    id: CorrelationId
