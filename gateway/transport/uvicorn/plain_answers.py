"""Answers in plain text, for those whose request never reaches the application."""


def plain_answer(status: str, text: str) -> bytes:
    """Write an answer of HTTP/1.1, after which the connection is closed."""
    return (
        f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(text)}\r\n\r\n{text}"
    ).encode()
