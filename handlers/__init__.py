"""The meaning of messages: one small class for each type. `docs/protocol.md` describes each."""

from handlers.base import MsgHandler, Session
from handlers.errors import MessageError
from handlers.factory import HANDLERS, MsgHandlerFactory

__all__ = ["HANDLERS", "MessageError", "MsgHandler", "MsgHandlerFactory", "Session"]
