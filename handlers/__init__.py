"""The meaning of messages: one small class for each type. `docs/protocol.md` describes each."""

from handlers.base import MsgHandler, Session
from handlers.errors import AppError, MessageError
from handlers.factory import MsgHandlerFactory
from handlers.registry import BUILT_IN, HANDLERS, Registry
from handlers.streaming import Chunk, Reply
from schemas.base import DefinitionError

__all__ = [
    "BUILT_IN",
    "HANDLERS",
    "AppError",
    "Chunk",
    "DefinitionError",
    "MessageError",
    "MsgHandler",
    "MsgHandlerFactory",
    "Registry",
    "Reply",
    "Session",
]
