"""Plain-text answers to requests that never reach the application."""


def plain_answer(status: str, text: str) -> bytes:
    """Return an HTTP/1.1 answer after which the connection closes."""
    return (
        f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(text)}\r\n\r\n{text}"
    ).encode()
