"""`gateway token`: a token to paste into Postman."""

import asyncio
import base64
import json
from pathlib import Path

from tests.gateway.cli.command import Served, run
from tests.gateway.cli.conftest import RunHere
from tests.support.client import App


async def test_it_prints_a_token_that_opens_the_socket(served: Served, app: App, alice: str) -> None:
    await app.register(alice)
    printed = await asyncio.to_thread(run, served.folder, "token", alice, "--minutes", "2")
    assert (printed.status, printed.err) == (0, "")
    token = printed.out.removesuffix("\n")
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["exp"] - claims["iat"] == 120
    async with app.connect_with(token) as client:
        assert client.welcome["user"] == alice
        (listed,) = [
            session
            for session in (await app.ask("GET", "/users/me/sessions", token)).json()["sessions"]
            if session["current"]
        ]
        assert (listed["id"], listed["address"]) == (claims["sid"], "command")
        await app.http.post("/token/revoke", data={"token": token})
        await client.expect_revoked()


def test_it_prints_none_that_would_not_work(tmp_path: Path, run_here: RunHere) -> None:
    assert run_here(tmp_path, "token", "nobody").problem.startswith("there is no user nobody that is enabled")
    bad_minutes = run_here(tmp_path, "token", "nobody", "--minutes", "0")
    assert (bad_minutes.status, bad_minutes.out) == (2, "")


def test_it_prints_none_for_a_program(tmp_path: Path, run_here: RunHere) -> None:
    too_long = run_here(tmp_path, "token", "nobody", "--minutes", "61")
    assert too_long.problem == "--minutes: expected at most 60, got 61; for a program, make a key: gateway services add"
    longer = run_here(tmp_path, "token", "nobody", "--minutes", "90", GATEWAY_TOKEN_MINUTES="90")
    assert longer.problem.startswith("there is no user nobody")
