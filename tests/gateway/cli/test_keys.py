"""`gateway keys`: make, list and retire, with and without a gateway that runs."""

import asyncio
import base64
import json
import re
import stat
from pathlib import Path

import pytest

from gateway.testing import running_gateway, settings_for_tests
from tests.gateway.cli.conftest import RunHere
from tests.support.client import App
from tests.support.waiting import until

KID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
SECRET = "0123456789abcdefghijklmnopqrstuvwxyz"


def states(run_here: RunHere, folder: Path, **variables: str) -> dict[str, str]:
    """What `gateway keys list` shows for each key."""
    listed = run_here(folder, "keys", "list", **variables)
    assert (listed.status, listed.err) == (0, "")
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in listed.out.splitlines() if "│" in line]
    return {row[0]: row[2] for row in rows}


def a_minute_older(folder: Path) -> None:
    """Date every new key back, since no test can wait for the next minute."""
    for path in (folder / "data" / "keys").iterdir():
        path.rename(path.with_name(re.sub(r"^\d{8}", "20200101", path.name)))


def test_a_key_is_made_takes_over_and_is_retired(tmp_path: Path, run_here: RunHere) -> None:
    made = run_here(tmp_path, "keys", "new", GATEWAY_SECRET_KEY=SECRET)
    assert (made.status, made.err) == (0, "")
    [path] = (tmp_path / "data" / "keys").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert str(path.name) in made.out
    assert "(ES256)" in made.out
    assert "reads it within 10 seconds, and signs with it in 60" in made.out
    [kid] = KID.findall(path.name)

    young = states(run_here, tmp_path, GATEWAY_SECRET_KEY=SECRET)
    assert young["secret"] == "signs"
    assert young[kid].startswith("signs from ")
    a_minute_older(tmp_path)
    old = KID.findall(next((tmp_path / "data" / "keys").iterdir()).name)[0]
    assert states(run_here, tmp_path, GATEWAY_SECRET_KEY=SECRET) == {old: "signs", "secret": "verifies"}

    retired = run_here(tmp_path, "keys", "retire", old, GATEWAY_SECRET_KEY=SECRET)
    assert retired.out.startswith(f"{old} no longer signs, and verifies until ")
    state = states(run_here, tmp_path, GATEWAY_SECRET_KEY=SECRET)
    assert state["secret"] == "signs"
    assert state[old].startswith("verifies until ")
    again = run_here(tmp_path, "keys", "retire", old, GATEWAY_SECRET_KEY=SECRET)
    assert again.out == retired.out

    [path] = (tmp_path / "data" / "keys").iterdir()
    path.rename(path.with_name(f"{old}.until-20210101T000000Z.pem"))
    assert "ended; " in states(run_here, tmp_path, GATEWAY_SECRET_KEY=SECRET)[old]
    removed = run_here(tmp_path, "keys", "retire", old, GATEWAY_SECRET_KEY=SECRET)
    assert removed.out.startswith("removed ")
    assert not list((tmp_path / "data" / "keys").iterdir())


def test_a_key_that_may_have_leaked_is_removed_at_once(tmp_path: Path, run_here: RunHere) -> None:
    for algorithm in ("RS256", "HS256"):
        assert f"({algorithm})" in run_here(tmp_path, "keys", "new", "--algorithm", algorithm).out
    stolen, _other = states(run_here, tmp_path)
    removed = run_here(tmp_path, "keys", "retire", stolen, "--now")
    assert "within 10 seconds no gateway accepts its tokens" in removed.out
    assert "a restart ends them now" in removed.out
    assert stolen not in states(run_here, tmp_path)


def test_the_last_key_is_not_retired_and_an_unknown_one_is_told(tmp_path: Path, run_here: RunHere) -> None:
    assert "there is no key that signs" in run_here(tmp_path, "keys", "list").out
    assert not (tmp_path / "data" / "secret_key").exists()
    run_here(tmp_path, "keys", "new")
    [kid] = states(run_here, tmp_path)
    for options in ((), ("--now",)):
        problem = run_here(tmp_path, "keys", "retire", kid, *options).problem
        assert problem == f"{kid} is the only key that signs; make another first: gateway keys new"
    assert "see: gateway keys list" in run_here(tmp_path, "keys", "retire", "nobody").problem
    assert "remove GATEWAY_SECRET_KEY" in run_here(tmp_path, "keys", "retire", "secret").problem


def test_production_can_make_its_first_key_and_needs_no_secret_then(tmp_path: Path, run_here: RunHere) -> None:
    production = {"GATEWAY_ENVIRONMENT": "production", "GATEWAY_PASSWORD_ROUNDS": "10"}
    folder = tmp_path / "elsewhere"
    made = run_here(tmp_path, "keys", "new", **production, GATEWAY_KEYS_DIR=str(folder))
    assert made.status == 0
    assert "GATEWAY_KEYS_DIR" not in made.out
    [state] = states(run_here, tmp_path, **production, GATEWAY_KEYS_DIR=str(folder)).values()
    assert state == "signs"
    next(folder.iterdir()).chmod(0o604)
    assert "chmod 600" in run_here(tmp_path, "keys", "list", **production, GATEWAY_KEYS_DIR=str(folder)).problem


@pytest.mark.server
async def test_a_running_gateway_takes_up_a_key_and_so_does_the_command_that_prints_tokens(
    tmp_path: Path, run_here: RunHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.auth.keys.key_ring.REREAD_SECONDS", 0.02)
    (tmp_path / "data").mkdir()
    with running_gateway(settings_for_tests(tmp_path / "data")) as gateway:
        async with App(gateway) as app:
            before = await app.token("alice")
            await asyncio.to_thread(run_here, tmp_path, "keys", "new")
            a_minute_older(tmp_path)
            printed = (await asyncio.to_thread(run_here, tmp_path, "token", "alice")).out.strip()
            kid = json.loads(base64.urlsafe_b64decode(printed.split(".")[0] + "=="))["kid"]
            assert kid.startswith("20200101T")
            await until(lambda: gateway.state.tokens.keys.find(kid, 0))
            for token in (before, printed):
                async with app.socket(f"?token={token}") as client:
                    await client.expect("welcome", user="alice")
