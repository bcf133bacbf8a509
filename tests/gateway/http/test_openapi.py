"""The API's description is true: schemathesis compares it with the running gateway, and so do these tests."""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from schemas.services import SERVICE_SCOPES
from tests.conftest import OwnGateway
from tests.support.client import PASSWORD, App
from tests.support.services import add_service

SECONDS = 240
COMMON = ("--seed", "1", "--no-color")
# A schema cannot say which rooms and positions there are, that names differ, and that no string has U+0000.
OF_MESSAGES = """
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "410"]

[[operations]]
include-path = "/call/room.resume"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "422"]
"""
SCHEMATHESIS = """
import json, sys
from schemathesis.cli import schemathesis
for arguments in json.loads(sys.argv[1]):
    try:
        schemathesis.main(arguments)
    except SystemExit as end:
        if end.code:
            raise
"""
"""Several runs in one process: its start and its imports take seconds."""


async def test_every_answer_to_users_and_services_and_to_each_message_is_as_described(
    app: App, alice: str, bob: str, unique: Callable[[str], str], tmp_path: Path
) -> None:
    """Let schemathesis compare all answers with the description."""
    (tmp_path / "messages.toml").write_text(OF_MESSAGES)
    key = await add_service(app.gateway, unique("orders"), *SERVICE_SCOPES)
    of_users = ("--phases", "coverage", "--exclude-path-regex", "^/(api|call|hook)/")
    of_messages = (
        "--phases",
        "examples,coverage",
        "--generation-allow-x00",
        "false",
        "--include-path-regex",
        "^/call/",
    )
    of_services = ("--phases", "coverage", "--include-path-regex", "^/(api|hook)/")
    runs = [
        ["run", f"{app.gateway.url}/openapi.json", *options, "-H", f"Authorization: Bearer {token}", *COMMON]
        for token, options in (
            (await app.token(alice), of_users),
            (await app.token(bob), of_messages),
            (key, of_services),
        )
    ]
    runs[1][:0] = ["--config-file", "messages.toml"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SCHEMATHESIS, json.dumps(runs)),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(SECONDS):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, output.decode()
    assert output.count(b" SUMMARY ") == len(runs)


def described(document: dict[str, Any], method: str, path: str) -> set[int]:
    return {int(status) for status in document["paths"][path][method]["responses"]}


async def test_what_limits_and_bodies_are_answered_with_is_described(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(login_rate_per_address=4)) as app:
        document = (await app.http.get("/openapi.json")).json()
        new = {"username": "alice", "password": PASSWORD}
        wrong: list[dict[str, Any]] = [
            {"json": new},
            {"json": new},
            {"json": {}},
            {"data": new},
            {"content": b"x" * 20_000, "headers": {"Content-Type": "application/json"}},
            {"content": b"[" * 8000, "headers": {"Content-Type": "application/json"}},
            {"json": new | {"username": "bob"}},
            {"json": new | {"username": "carol"}},
            {"json": new | {"username": "dora"}},
        ]
        seen = [(await app.http.post("/users", **each)).status_code for each in wrong]
        assert set(seen) == {201, 400, 409, 413, 415, 422, 429}
        assert set(seen) <= described(document, "post", "/users")
        forms: list[dict[str, Any]] = [{"data": new}, {"json": new}, {"data": {}}, {"content": b"x" * 20_000}]
        seen = [(await app.http.post("/token", **each)).status_code for each in forms]
        assert set(seen) == {413, 415, 422, 429}
        assert set(seen) <= described(document, "post", "/token")


async def test_an_address_that_asks_too_often_is_described_wherever_it_asks(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(request_rate=1)) as app:
        app.gateway.clock.stop()
        document = (await app.http.get("/openapi.json")).json()
        assert (await app.http.get("/users/me")).status_code == 429
        operations = [(method, path) for path, item in document["paths"].items() for method in item]
        assert len(operations) > 10
        assert [each for each in operations if 429 not in described(document, *each)] == []


async def test_a_store_that_is_away_is_described(own_gateway: OwnGateway, tmp_path: Path) -> None:
    async with App(own_gateway(database_url=f"sqlite:///{tmp_path / 'lost.db'}")) as app:
        document = (await app.http.get("/openapi.json")).json()
        grant = await app.grant("alice")
        (tmp_path / "lost.db").unlink()
        for method, path, content in (
            ("DELETE", "/users/me/sessions", {}),
            ("POST", "/ws/ticket", {}),
            ("POST", "/call/chat.send", {"json": {"room": "lobby", "text": "Hi"}}),
            ("POST", "/users", {"json": {"username": "bob", "password": PASSWORD}}),
            ("POST", "/token", {"data": {"username": "alice", "password": PASSWORD}}),
            ("POST", "/token/revoke", {"data": {"token": grant["refresh_token"]}}),
        ):
            response = await app.ask(method, path, grant["access_token"], **content)
            assert response.status_code == 503, (path, response.text)
            assert response.json()["status"] == 50300
            assert "Retry-After" in response.headers
            assert 503 in described(document, method.lower(), path)


async def test_what_a_service_and_a_stranger_get_for_requests_of_others_is_described(
    app: App, unique: Callable[[str], str]
) -> None:
    document = (await app.http.get("/openapi.json")).json()
    key = await add_service(app.gateway, unique("orders"), *SERVICE_SCOPES)
    for method, path in (
        ("GET", "/users/me"),
        ("GET", "/users/me/sessions"),
        ("DELETE", "/users/me/sessions"),
        ("DELETE", "/users/me/sessions/{id}"),
        ("POST", "/ws/ticket"),
    ):
        response = await app.ask(method, path.replace("{id}", "x" * 22), key)
        assert response.status_code in described(document, method.lower(), path), (method, path, response.text)
    assert {401, 404} <= described(document, "get", "/metrics")
