"""The way from the public address to the running gateway: through TLS, proxies and balancers."""

import asyncio
import json
import secrets
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus, WebSocketException

from gateway.cli.doctor.findings import Finding, Verdict, ok, problem, warning
from gateway.cli.doctor.subject import Subject
from gateway.core.local_socket import Data, LocalUnavailable, ask
from gateway.core.request_watch import QUESTION
from gateway.core.socket_folder import sockets_in

ANSWER_SECONDS = 4.0
QUICK_SECONDS = 2.0
"""An error of the gateway comes at once. One that takes longer waits in a buffer."""

LET_WATCH_SECONDS = 0.3
"""How long the processes have to begin to watch for a request."""

FORGED = "203.0.113.66"
"""An address of documents (RFC 5737), so no client's own."""

CERTIFICATE = (
    "let the proxy send its whole chain, and renew it in time;"
    " for an authority of your own: SSL_CERT_FILE=authority.pem gateway doctor …"
)
UPGRADE = "proxy_set_header Upgrade $http_upgrade;  # and what: gateway settings nginx"
FORWARDED = "proxy_set_header X-Forwarded-Proto $scheme;  # and GATEWAY_TRUSTED_PROXIES=… has its address"


async def public_address(subject: Subject) -> AsyncIterator[Finding]:
    """Ask the running gateway through its public address, if the operator names it."""
    if subject.url is None:
        yield ok("no public address was named; --url https://… asks the running gateway through its proxy")
        return
    parts = urlsplit(subject.url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc or parts.query:
        yield problem("--url: expected an address such as https://chat.example.com", "--url https://chat.example.com")
        return
    base = subject.url.rstrip("/")
    try:
        # SSL_CERT_FILE counts as it does for the other commands, but no proxy of the environment does.
        trust = httpx2.create_ssl_context()
        async with httpx2.AsyncClient(
            verify=trust, timeout=ANSWER_SECONDS, follow_redirects=False, trust_env=False
        ) as client:
            found = [*await _health(client, base), *await _scheme(client, base)]
            found += await _address(client, base, subject.settings.data_dir)
    except PermissionError:  # of the data folder
        raise
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        yield _no_answer(base, error)
        return
    for finding in found:
        yield finding
    if all(each.verdict is not Verdict.PROBLEM for each in found):
        yield await _upgrade(base, trust if parts.scheme == "https" else None)


def _no_answer(base: str, error: BaseException) -> Finding:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return problem(f"the certificate of {base} is not trusted ({cause.verify_message})", CERTIFICATE)
    if cause is not None:
        return problem(f"{base} does not speak TLS ({cause.reason})", "let the proxy end TLS there, or correct --url")
    return problem(f"{base} does not answer ({type(error).__name__})", "start the gateway, or correct --url")


async def _health(client: httpx2.AsyncClient, base: str) -> list[Finding]:
    answer = await client.get(f"{base}/healthz")
    if answer.status_code != 200 or "X-Request-ID" not in answer.headers:
        return [
            problem(
                f"{base}/healthz is no gateway's answer (status {answer.status_code})",
                "let the proxy pass all paths to the gateway",
            )
        ]
    return [ok(f"a gateway answers at {base}")]


async def _scheme(client: httpx2.AsyncClient, base: str) -> list[Finding]:
    """Compare the scheme that the gateway sees with that of the address."""
    answer = await client.get(f"{base}/.well-known/oauth-authorization-server")
    if answer.status_code != 200:
        return []
    with suppress(ValueError, KeyError, TypeError):
        seen, asked = urlsplit(str(json.loads(answer.content)["token_endpoint"])), urlsplit(base)
        if seen.scheme != asked.scheme:
            return [problem(f"the gateway sees {seen.scheme}:// in place of {asked.scheme}://", FORWARDED)]
        if seen.netloc != asked.netloc:
            found = f"the gateway calls itself {seen.netloc} in place of {asked.netloc}"
            return [warning(found, "proxy_set_header Host $host;  # or a URL in GATEWAY_TOKEN_ISSUER")]
    return []


async def _address(client: httpx2.AsyncClient, base: str, folder: Path) -> list[Finding]:
    """Let the processes of this machine say what they see of a request that comes through the proxy."""
    paths = sockets_in(folder)
    if not paths:
        return [ok("no gateway runs from this data folder, so the addresses that it sees were not looked at")]
    request_id = f"doctor-{secrets.token_hex(8)}"
    watching = [asyncio.create_task(_watch(path, request_id)) for path in paths]
    try:
        await asyncio.sleep(LET_WATCH_SECONDS)
        # An address that only a proxy may replace, in the place where a client would forge one.
        await client.get(f"{base}/healthz", headers={"X-Request-ID": request_id, "X-Forwarded-For": FORGED})
        seen = [each for each in await asyncio.gather(*watching) if each is not None]
    finally:
        for task in watching:
            task.cancel()
    if not seen:
        return [warning("no gateway of this data folder got the request", "run the doctor where the gateway runs")]
    return [_judge(seen[0], base)]


async def _watch(path: Path, request_id: str) -> Data | None:
    try:
        return await ask(path, QUESTION, {"id": request_id}, timeout=ANSWER_SECONDS)
    except LocalUnavailable:  # another process got it, or an older one runs here
        return None


def _judge(seen: Data, base: str) -> Finding:
    client, peer = str(seen["client"]), str(seen["peer"])
    if client == FORGED:
        return problem(
            "a client can choose the address that the gateway sees, with an X-Forwarded-For of its own",
            "proxy_set_header X-Forwarded-For $remote_addr;  # and no clients in GATEWAY_TRUSTED_PROXIES",
        )
    named = [each for each in seen["forwarded"] if each != FORGED]
    if client == peer and not named and base.startswith("https:"):
        return problem(
            f"the proxy at {peer} does not name its clients' addresses",
            "proxy_set_header X-Forwarded-For $remote_addr;",
        )
    if client == peer and named:
        return problem(
            f"the proxy at {peer} names each client's address, and the gateway does not believe it",
            f"GATEWAY_TRUSTED_PROXIES={peer}",
        )
    return ok(f"the gateway sees the address {client}, through {peer}")


async def _upgrade(base: str, trust: ssl.SSLContext | None) -> Finding:
    """Open a WebSocket, and send a credential that cannot be right: the refusal shows that frames pass both ways."""
    url = f"ws{base.removeprefix('http')}/ws/chat"
    began = time.monotonic()
    try:
        async with connect(url, open_timeout=ANSWER_SECONDS, close_timeout=1, proxy=None, ssl=trust) as ws:
            await ws.send('{"type":"auth","data":{"token":"doctor"}}')
            async with asyncio.timeout(ANSWER_SECONDS):
                await ws.recv()
    except InvalidStatus as error:
        status = error.response.status_code
        return problem(f"no WebSocket comes through: {url} answers {status}", UPGRADE)
    except TimeoutError:
        return problem("a WebSocket opens, and its frames do not come through", "proxy_buffering off;")
    except (WebSocketException, OSError) as error:
        return problem(f"no WebSocket comes through to {url} ({type(error).__name__})", UPGRADE)
    if (seconds := time.monotonic() - began) > QUICK_SECONDS:
        return warning(f"a WebSocket needs {seconds:.1f} s for its first answer", "proxy_buffering off;")
    return ok("a WebSocket comes through, and its frames come at once")
