"""`gateway publish`: a service says a text in a room, from a shell or a script."""

import os
import re
import secrets
import sys
from pathlib import Path
from typing import Annotated, Any

import httpx2
import typer

from gateway.cli.chat.wording import clean, explain
from gateway.cli.gateway_address import GatewayAddress, gateway_at
from gateway.core.start_error import StartError

URL_VARIABLE = "GATEWAY_PUBLISH_URL"
KEY_VARIABLE = "GATEWAY_SERVICE_KEY"
THIS_MACHINE = "http://127.0.0.1:8000"
ANSWER_SECONDS = 15


def publish(
    room: Annotated[str, typer.Argument(help="The room.", show_default=False)],
    text: Annotated[str, typer.Argument(help="The text, or - for standard input.", show_default=False)],
    url: Annotated[
        str | None, typer.Option(help=f"The gateway's URL. Or set {URL_VARIABLE}; the default is {THIS_MACHINE}.")
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option(help=f"A file with the key of a service on its first line. Or set {KEY_VARIABLE}.")
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="With the same one again within 24 hours, the text is sent once.")
    ] = None,
) -> None:
    """Send a text to a room as a service, and print the id of the message.

    The key comes from a file or a variable: `gateway services add NAME --scope api:publish` prints one. The exit status
    is 0 if the message is stored.
    """
    place = gateway_at(url or os.environ.get(URL_VARIABLE) or THIS_MACHINE)
    key = _key(key_file)
    once = secrets.token_hex(16) if idempotency_key is None else _checked(idempotency_key)
    body = {"rooms": [room], "message": {"text": _standard_input() if text == "-" else text}}
    answer = _post(place, key, once, body)
    typer.echo(_message_id(place, answer))


def _key(file: Path | None) -> str:
    if file is None:
        key = os.environ.get(KEY_VARIABLE, "").strip()
        if not key:
            raise StartError(
                f"expected the key of a service in {KEY_VARIABLE} or --key-file; see: gateway services add"
            )
    else:
        key = _first_line(file)
    if not key.isascii() or not key.isprintable() or " " in key or not key:
        # It becomes a header.
        raise StartError(f"expected the key of a service, gwk_…, in {file or KEY_VARIABLE}; got other text")
    return key


def _first_line(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").partition("\n")[0].strip()
    except OSError as error:
        raise StartError(f"cannot read the key file {file} ({error.strerror})") from None
    except UnicodeDecodeError:
        raise StartError(f"cannot read the key file {file} (it is not UTF-8)") from None


def _checked(idempotency_key: str) -> str:
    if re.fullmatch(r"[\x21-\x7e]{1,64}", idempotency_key) is None:
        raise StartError("--idempotency-key: expected 1 to 64 visible ASCII characters")
    return idempotency_key


def _standard_input() -> str:
    try:
        return sys.stdin.read().rstrip("\r\n")
    except UnicodeDecodeError:
        raise StartError("cannot read standard input (it is not UTF-8)") from None


def _post(place: GatewayAddress, key: str, idempotency_key: str, body: dict[str, Any]) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": idempotency_key}
    try:
        with httpx2.Client(timeout=ANSWER_SECONDS, trust_env=not place.local) as client:
            return client.post(f"{place.http}/api/publish", json=body, headers=headers)
    except UnicodeEncodeError:
        raise StartError("TEXT: expected UTF-8") from None
    except httpx2.TimeoutException:
        raise StartError(f"cannot reach {place.http} (it does not answer); the message may be stored") from None
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        reason = clean(str(error)) or "it closes the connection"
        raise StartError(f"cannot reach {place.http} ({reason}); does the gateway run?") from None


def _message_id(place: GatewayAddress, answer: httpx2.Response) -> str:
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise StartError(f"{place.http} is not a gateway (HTTP {answer.status_code}); is the path right?")
    if answer.status_code != httpx2.codes.OK:
        raise StartError(f"cannot publish: {explain(found)}")
    result = found["results"][0]
    if "error" in result:
        raise StartError(f"cannot publish: {explain(result['error'])}")
    return clean(str(result["id"]))
