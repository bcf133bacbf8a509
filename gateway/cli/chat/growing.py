"""Text that comes in pieces: the answer of a call, or a message that grows."""

from rich.text import Text

from gateway.cli.chat.wording import clean

BAR = "│ "
"""The beginning of each further line. Without it, a text could imitate the lines of others."""

MAX_LINE = 2000
"""The most characters of a line. A longer one continues on the next."""


class GrowingText:
    """The lines of a text. The first one begins with a label."""

    def __init__(self, label: Text) -> None:
        self._head = label
        self._rest = ""

    def add(self, piece: str) -> list[Text]:
        """Take a piece, and return the lines that it completes."""
        *whole, self._rest = (self._rest + piece).split("\n")
        while len(self._rest) > MAX_LINE:
            whole.append(self._rest[:MAX_LINE])
            self._rest = self._rest[MAX_LINE:]
        return [self._line(text) for text in whole]

    def end(self) -> list[Text]:
        """Return the last line, if it has any text."""
        return [self._line(self._rest)] if self._rest else []

    @property
    def unfinished(self) -> Text:
        """Return the last line so far."""
        return Text.assemble(self._head, clean(self._rest))

    def _line(self, text: str) -> Text:
        line = Text.assemble(self._head, clean(text))
        self._head = Text(BAR, style="dim")
        return line
