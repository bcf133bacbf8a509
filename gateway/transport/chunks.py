"""The chunks of one answer: their numbers, and texts that wait for a slow reader and are joined into one frame."""

import orjson

from gateway.transport.frames import Frame, bounded, text_frame


class WaitingText(Frame):
    """A chunk with a text that still waits, so that more text may follow in the same frame."""

    __slots__ = ("_head", "_joined", "_text", "is_sealed", "size")

    def __init__(self, wire: bytes, head: bytes, text: bytes) -> None:
        """Take the frame's bytes, and of its JSON what is before the data, and the data."""
        super().__init__(wire)
        self._head = head
        self._text = text
        self._joined: bytearray | None = None  # one buffer, since each small piece would take several times its bytes
        self.size = len(wire)
        """Its bytes with all that was added."""
        self.is_sealed = False
        """Whether it has gone to the socket."""

    def add(self, text: bytes) -> int:
        """Append a JSON text, and return by how many bytes the frame grows."""
        if self._joined is None:
            self._joined = bytearray(self._text[:-1])  # without the quote at its end
        self._joined += text[1:-1]
        self.size += len(text) - 2
        return len(text) - 2

    def seal(self) -> None:
        """Write all of the text into the frame."""
        self.is_sealed = True
        if self._joined is not None:
            self.wire = text_frame(b"".join((self._head, self._joined, b'"}'))).wire


class Chunks:
    """The chunks of one answer, as the outbox sends them."""

    __slots__ = ("_last", "_max_bytes", "_prefix", "_seq")

    def __init__(self, id: int | str, max_bytes: int) -> None:
        """Prepare those of the answer to the message `id`, in frames of at most `max_bytes`."""
        self._prefix = b'{"type":"chunk","id":%b,"seq":' % orjson.dumps(id)
        self._max_bytes = max_bytes
        self._seq = 0
        self._last: WaitingText | None = None

    def next_frame(self, data: bytes) -> Frame:
        """Return the frame of the next chunk. Raise `ValueError` if it is longer than clients accept."""
        seq = self._seq + 1
        frame = text_frame(b'%b%d,"data":%b}' % (self._prefix, seq, data))
        if len(frame.wire) > self._max_bytes:
            bounded(frame, self._max_bytes)  # which raises: this runs for every chunk
        self._seq = seq
        self._last = None
        return frame

    def waiting_text(self, text: bytes) -> WaitingText:
        """Return the same for a JSON text that has to wait: `join` may add to it."""
        head = b'%b%d,"data":' % (self._prefix, self._seq + 1)
        self._last = WaitingText(self.next_frame(text).wire, head, text)
        return self._last

    def join(self, text: bytes) -> int | None:
        """Add a JSON text to the last chunk if that is a text and waits, and return by how many bytes it grows."""
        last = self._last
        if last is None or last.is_sealed or last.size + len(text) + MAX_HEADER > self._max_bytes:
            return None
        return last.add(text)


MAX_HEADER = 10
"""The bytes of the longest header of a frame (RFC 6455 §5.2), which may grow with its text."""
