"""The meaning of messages: one small class for each type. `docs/protocol.md` says what they do."""

from handlers.base import MsgHandler, Session
from handlers.errors import MessageError
from handlers.factory import HANDLERS, MsgHandlerFactory

__all__ = ["HANDLERS", "MessageError", "MsgHandler", "MsgHandlerFactory", "Session"]
