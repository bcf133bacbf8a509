"""uvicorn's WebSocket protocol, where the gateway needs it to be otherwise."""

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

# RFC 6585 §5. The one handshake that reaches us and cannot be parsed is one with a line over 8 KiB.
_BODY = b"a line of this request is longer than 8,192 bytes\n"
_TOO_LONG = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)


class GatewayProtocol(WebSocketsSansIOProtocol):
    """Answers a handshake that cannot be parsed: uvicorn 0.54 keeps such a socket open, silent, for ever."""

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket."""
        super().data_received(data)
        if not self.handshake_initiated and self.conn.handshake_exc is not None and not self.transport.is_closing():
            self.transport.write(_TOO_LONG)
            self.transport.close()
