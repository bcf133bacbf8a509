"""The audit log: what an auditor needs, one JSON object a line, and never a secret."""

import json
import logging
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gateway.core.audit import LINES_A_MINUTE, Audit
from gateway.core.client_info import ClientInfo
from gateway.core.clock import SystemClock
from gateway.core.start_error import StartError
from gateway.testing import Gateway
from tests.conftest import OwnGateway
from tests.support.client import PASSWORD, App
from tests.support.waiting import WAIT_SECONDS

CALLER = ClientInfo("10.0.0.1", "Phone/1.0")


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def written(gateway: Gateway, count: int) -> list[dict[str, Any]]:
    """Return the entries, once there are so many: a thread writes them."""
    path = gateway.settings.data_dir / "audit.log"
    deadline = time.monotonic() + WAIT_SECONDS
    while len(path.read_text().splitlines()) < count:
        assert time.monotonic() < deadline, path.read_text()
        time.sleep(0.005)
    return entries(path)


async def test_the_life_of_a_credential_is_written_down(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    async with App(gateway) as app:
        headers = {"X-Request-ID": "from-the-proxy.1", "User-Agent": "Phone/1.0"}
        app.http.headers |= headers
        await app.register("alice")
        await app.log_in("alice", "a wrong password of mine")
        await app.log_in("nobody", "a wrong password of mine")
        grant, other = await app.grant("alice"), await app.grant("alice")
        renewed = (await app.refresh(grant["refresh_token"])).json()
        await app.refresh(grant["refresh_token"])
        gateway.clock.ahead += 11
        await app.refresh(grant["refresh_token"])
        await app.refresh(renewed["refresh_token"])
        token, fourth = other["access_token"], await app.grant("alice")
        (id,) = [
            each["id"]
            for each in (await app.ask("GET", "/users/me/sessions", token)).json()["sessions"]
            if not each["current"]
        ]
        await app.ask("DELETE", f"/users/me/sessions/{id}", token)
        for old in ("a wrong password of mine", PASSWORD):
            body = {"old_password": old, "new_password": "another battery staple"}
            await app.ask("PUT", "/users/me/password", token, json=body)
        await app.http.post("/token/revoke", data={"token": other["refresh_token"]})

        log = written(gateway, 14)
        assert [entry["event"] for entry in log] == [
            "registered",
            "log_in_failed",
            "log_in_failed",
            "log_in",
            "log_in",
            "refreshed",
            "refresh_repeated",
            "refresh_reused",
            "refresh_refused",
            "log_in",
            "session_ended",
            "password_change_failed",
            "password_changed",
            "log_out",
        ]
        for entry in log:
            assert (entry["address"], entry["user_agent"]) == ("127.0.0.1", "Phone/1.0")
            assert entry["request_id"] == "from-the-proxy.1"
            assert entry["time"].endswith("+00:00")
        assert [entry.get("reason") for entry in log[1:3]] == ["wrong_password", "unknown_user"]
        assert "user" not in log[2]  # what was typed there may have been a password
        assert len({entry.get("user_id") for entry in log}) == 2  # alice, and none
        assert log[5]["session"] == log[7]["session"] == log[3]["session"] != log[4]["session"]
        text = (gateway.settings.data_dir / "audit.log").read_text()
        for secret in (PASSWORD, "a wrong password of mine", "another battery staple"):
            assert secret not in text
        for secret in (each[kind] for each in (grant, other, renewed, fourth) for kind in each if "_token" in kind):
            assert not any(secret[start : start + 20] in text for start in range(len(secret) - 20))


async def test_nobody_writes_a_line_of_their_own_into_it(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    async with App(gateway) as app:
        await app.register("alice")
        name = 'alice"}\n{"event": "log_in", "user": "admin"}\n'
        headers = [(b"User-Agent", b'x"}\x85{"event": "log_in"} \xe2\x80\xa8')]
        await app.http.post("/token", data={"username": name, "password": PASSWORD}, headers=headers)
        assert [entry["event"] for entry in written(gateway, 2)] == ["registered", "log_in_failed"]


def test_only_its_owner_reads_it_and_it_can_be_moved_away(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    with Audit(path, SystemClock()) as audit:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        audit.record("first", CALLER)
        deadline = time.monotonic() + WAIT_SECONDS
        while not path.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.005)
        path.rename(tmp_path / "audit.log.1")
        audit.record("second", CALLER)
    assert [entry["event"] for entry in entries(tmp_path / "audit.log.1")] == ["first"]
    assert [entry["event"] for entry in entries(path)] == ["second"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_it_can_be_elsewhere_or_off(own_gateway: OwnGateway, tmp_path: Path) -> None:
    async with App(own_gateway(audit_log="off")) as app:
        await app.register("alice")
    assert not (tmp_path / "audit.log").exists()
    async with App(own_gateway(audit_log=str(tmp_path / "elsewhere.log"))) as app:
        await app.register("bob")
    assert not (tmp_path / "audit.log").exists()
    assert (tmp_path / "elsewhere.log").exists()


def test_a_file_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="GATEWAY_AUDIT_LOG"):
        Audit(tmp_path / "missing" / "audit.log", SystemClock())


def test_writing_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    os.mkfifo(path)
    disk = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK))

    def record() -> None:
        for number in range(1000):  # more than a pipe holds
            audit.record("session_ended", CALLER, user="alice", number=number)

    with ThreadPoolExecutor(1) as thread, Audit(path, SystemClock()) as audit, disk:
        thread.submit(record).result(WAIT_SECONDS)
        # Only now the disk takes what was written.
        os.set_blocking(disk.fileno(), True)
        written = thread.submit(disk.readlines)
        audit.close()
        assert [json.loads(line)["number"] for line in written.result(WAIT_SECONDS)] == list(range(1000))


def test_what_cannot_be_written_is_told_to_the_operator(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR), Audit(Path("/dev/full"), SystemClock()) as audit:
        audit.record("log_in", CALLER, user="alice")
    assert "cannot write to the audit log" in caplog.text
    assert '"event": "log_in"' in caplog.text


async def test_what_a_client_repeats_is_written_a_few_times_a_minute_and_then_counted(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    async with App(gateway) as app:
        token = (await app.grant("alice"))["refresh_token"]
        other = (await app.grant("bobby"))["refresh_token"]
        for _ in range(50):
            token = (await app.refresh(token)).json()["refresh_token"]
        gateway.clock.ahead += 61
        await app.refresh(other)
        found = written(gateway, 4 + LINES_A_MINUTE + 2)
    assert [entry["event"] for entry in found[4:]] == ["refreshed"] * LINES_A_MINUTE + ["left_out", "refreshed"]
    left_out, last = found[-2:]
    assert (left_out["of"], left_out["lines"]) == ("refreshed", 50 - LINES_A_MINUTE)
    assert (left_out["user_id"], left_out["address"]) == (found[4]["user_id"], "127.0.0.1")
    assert last["user_id"] != left_out["user_id"]


def test_what_is_left_out_is_counted_also_at_the_end(tmp_path: Path) -> None:
    with Audit(tmp_path / "audit.log", SystemClock()) as audit:
        for _ in range(LINES_A_MINUTE + 5):
            audit.record("refreshed", CALLER, user_id="1", session="s")
        for _ in range(LINES_A_MINUTE + 5):
            audit.record("session_ended", CALLER, user_id="1", session="s")  # one for each session
    events = [entry["event"] for entry in entries(tmp_path / "audit.log")]
    assert events.count("refreshed") == LINES_A_MINUTE
    assert events.count("session_ended") == LINES_A_MINUTE + 5
    assert entries(tmp_path / "audit.log")[-1]["lines"] == 5
