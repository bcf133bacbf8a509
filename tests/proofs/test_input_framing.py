"""The cases of RFC 6455 are Autobahn's, and a server that fails one of them fails the bar."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.testing import Gateway, running_gateway, settings_for_tests
from proofs.input import framing
from proofs.input.framing import OTHERS, OWN, bar_of
from proofs.input.play import Result, Verdict, play, play_all
from proofs.input.rfc6455 import Case, all_cases
from proofs.logs import faults_in, wrong_lines
from proofs.server import Server

pytestmark = pytest.mark.server

SHORT = {"1.1.3", "2.10", "3.2", "5.6", "6.2.3", "6.4.2", "6.21.1", "7.1.5", "7.9.4"}


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return list(all_cases())


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway on uvicorn's own protocol, which fails 7.1.5."""
    settings = settings_for_tests(tmp_path_factory.mktemp("strangers"), max_connections_per_user=0)
    with running_gateway(settings, options={"ws": "websockets-sansio"}) as running:
        yield running


def test_there_are_as_many_cases_in_each_part_as_autobahn_has(cases: list[Case]) -> None:
    parts = Counter(case.number.partition(".")[0] for case in cases)
    assert parts == {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "9": 54, "10": 1}
    assert len({case.number for case in cases}) == len(cases)


async def test_the_gateway_passes_what_a_stranger_fails(
    cases: list[Case], gateway: Gateway, strangers: Gateway, alice: str
) -> None:
    chosen = [case for case in cases if case.number in SHORT]
    ours, theirs = [
        await play_all(chosen, each.port, [await each.token(alice)] * len(chosen)) for each in (gateway, strangers)
    ]
    assert bar_of(OWN, ours).passed, ours
    failed = [result for result in theirs if result.verdict is Verdict.FAILED]
    assert [result.number for result in failed] == ["7.1.5"]
    assert bar_of(OTHERS[0], theirs).passed  # the page names this one
    assert not bar_of(OWN, theirs).passed


async def test_a_gateway_that_is_away_fails_each_case(cases: list[Case], tmp_path: Path) -> None:
    with running_gateway(settings_for_tests(tmp_path)) as gone:
        token = await gone.token("player")
    result = await play(cases[0], gone.port, token)
    assert result.verdict is Verdict.FAILED
    assert not bar_of(OWN, [result]).passed


def test_a_connection_that_is_cut_fails_only_the_gateways_own_bar() -> None:
    results = [Result("3.1", Verdict.CUT), Result("3.2", Verdict.ALLOWED)]
    assert not bar_of(OWN, results).passed
    assert bar_of(OTHERS[1], results).passed
    assert bar_of(OTHERS[1], results).found == "2 played: 1 not strict, 1 cut"


def test_a_traceback_in_the_log_misses_the_bar(tmp_path: Path) -> None:
    log = tmp_path / "gateway.log"
    log.write_text("2026-11-30 INFO a user said ERRORS\n")
    assert wrong_lines("faults", log).passed
    log.write_text('2026-11-30 WARNING x\nTraceback (most recent call last):\n  File "x", line 1\nValueError: x\n')
    assert not wrong_lines("faults", log).passed
    log.write_text("ERROR: known\nERROR: known too\n")
    assert wrong_lines("faults", log, known={"ERROR: known"}).found == "1: ERROR: known too"
    assert faults_in('{"level":"ERROR","message":"the gateway failed"}') != []


async def test_the_log_of_each_server_is_read(cases: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    servers_of = framing.servers_of

    def with_old_faults(folder: Path, url: str) -> dict[str, Server]:
        servers = {name: servers_of(folder, url)[name] for name in (OWN, OTHERS[2])}
        for server in servers.values():
            server.log.write_text("2026-11-30 ERROR it broke\n")
        return servers

    monkeypatch.setattr(framing, "servers_of", with_old_faults)
    monkeypatch.setattr(framing, "all_cases", lambda: cases[:1])
    faults = [bar for bar in await framing.prove_framing(lambda _: None) if "log" in bar.what]
    assert [bar.passed for bar in faults] == [False, False]
    assert ["serve" in faults[0].what, "wsproto" in faults[1].what] == [True, True]
