"""A small HTTP client: one request on one connection."""

import asyncio

ANSWER_SECONDS = 60


async def post(port: int, path: str, form: str, *, token: str | None = None) -> tuple[int, bytes]:
    """Send a form, and return the status and the body of the answer, or raise `OSError`."""
    body = form.encode()
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Connection: close",
        "Content-Type: application/x-www-form-urlencoded",
        f"Content-Length: {len(body)}",
        *([] if token is None else [f"Authorization: Bearer {token}"]),
    ]
    async with asyncio.timeout(ANSWER_SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            answer = await reader.read()
        finally:
            writer.close()
    head, _, rest = answer.partition(b"\r\n\r\n")
    if not head:
        raise ConnectionError("the connection was lost before an answer")
    return int(head.split(b" ", 2)[1]), rest
