"""A worker that serves a route over `/ws/service`, and answers each message at once: its port and key are arguments."""

import sys

import orjson
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

DATA = b'{"order":7,"state":"accepted"}'


class Worker(WSListener):
    """The connection."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Offer the route."""
        data = b'{"types":["stock.*"],"parallel":64}'
        transport.send(WSMsgType.TEXT, b'{"type":"route.serve","id":1,"data":%b}' % data)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Answer a message."""
        if frame.msg_type is WSMsgType.TEXT:
            message = orjson.loads(frame.get_payload_as_bytes())
            if message["type"] == "route.message":
                reply = b'{"type":"reply","id":%b,"data":%b}' % (orjson.dumps(message["id"]), DATA)
                transport.send(WSMsgType.TEXT, reply)


async def serve(port: str, key: str) -> None:
    """Serve until the connection ends."""
    headers = {"Authorization": f"Bearer {key}"}
    transport, _ = await ws_connect(Worker, f"ws://127.0.0.1:{port}/ws/service", extra_headers=headers)
    await transport.wait_disconnected()


if __name__ == "__main__":
    uvloop.run(serve(*sys.argv[1:]))
