"""The list of attacks on tokens, over HTTP and WebSocket against running gateways: none succeeds or breaks anything."""

import itertools
import json
import logging
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.sync.client import connect as connect_in_step

from gateway.config.settings import Settings
from gateway.testing import Gateway, running_gateway, settings_for_tests
from tests.gateway.auth.forging import ALGORITHMS, SECRET, attacks, claims_of, signer_of
from tests.support.client import ChatClient

pytestmark = pytest.mark.server

MUTATIONS = int(os.environ.get("TOKEN_MUTATIONS", "100"))
"""How many mutated tokens each gateway gets. Use `TOKEN_MUTATIONS=20000` for a thorough night."""

LONGEST_LINE = 8000
"""The server in front refuses longer tokens: `test_dependencies.py` has those."""


PLAIN = re.compile(r"[!-~]+")
"""The values that a header can carry unchanged."""


@dataclass(frozen=True)
class Attacked:
    """A gateway, one of its users, and every token that is to be forged for that user."""

    gateway: Gateway
    http: httpx2.Client
    good: str
    forged: dict[str, str]

    def get(self, token: str) -> httpx2.Response:
        """Return the API's answer to `GET /users/me`."""
        return self.http.get("/users/me", headers={"Authorization": f"Bearer {token}"})

    @asynccontextmanager
    async def socket(self, token: str) -> AsyncIterator[ChatClient]:
        """Open the socket."""
        async with connect(self.url_with(token), compression=None) as ws:
            yield ChatClient(ws)

    def url_with(self, token: str) -> str:
        """Return the socket's URL, with the token in the query."""
        return f"{self.gateway.ws_url}/ws/chat?{httpx2.QueryParams({'token': token})}"


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Attacked]]:
    """A gateway for each algorithm. All of them also know the secret."""
    with ExitStack() as stack:
        yield {each: _target(stack, settings_of(tmp_path_factory, each), each) for each in ALGORITHMS}


def settings_of(tmp_path_factory: pytest.TempPathFactory, algorithm: str) -> Settings:
    data = tmp_path_factory.mktemp(algorithm)
    signer = signer_of(algorithm)
    if signer.private is not None:
        (data / "keys").mkdir()
        (data / "keys" / f"{signer.kid}.pem").write_bytes(signer.pem)
    return settings_for_tests(data, secret_key=SECRET)


def _target(stack: ExitStack, settings: Settings, algorithm: str) -> Attacked:
    gateway = stack.enter_context(running_gateway(settings))
    http = stack.enter_context(httpx2.Client(base_url=gateway.url))
    alice = {"username": "alice", "password": "correct horse"}
    http.post("/users", json=alice)
    # The forged tokens name an existing user and session: only the forging is wrong with them.
    claims = claims_of(http.post("/token", data=alice).json()["access_token"])
    signer = signer_of(algorithm)
    return Attacked(gateway, http, signer.sign(claims), attacks(signer, claims["sub"], claims["sid"]))


@pytest.fixture
def target(targets: dict[str, Attacked], algorithm: str) -> Attacked:
    return targets[algorithm]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_the_good_token_opens_both_so_that_the_refusals_mean_something(target: Attacked) -> None:
    assert target.get(target.good).json()["username"] == "alice"
    async with target.socket(target.good) as client:
        await client.expect("welcome", user="alice")


@pytest.mark.parametrize(
    ("algorithm", "attack"),
    [
        (algorithm, attack)
        for algorithm in ALGORITHMS
        for attack, token in attacks(signer_of(algorithm)).items()
        if len(token) < LONGEST_LINE
    ],
)
async def test_a_forged_token_opens_neither_the_api_nor_the_socket(
    target: Attacked, attack: str, caplog: pytest.LogCaptureFixture
) -> None:
    token = target.forged[attack]
    if PLAIN.fullmatch(token):
        response = target.get(token)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert response.json()["name"] == "authentication_failed"
    async with target.socket(token) as client:
        await client.expect("error", id=None, status=40001, name="authentication_failed")
        await client.expect("bye", code=1008, reason="authentication_failed", reconnect="new_credential")
        await client.expect_close(1008, "authentication_failed")
    assert [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_mutation_of_a_token_opens_anything_or_makes_it_stumble(
    target: Attacked, caplog: pytest.LogCaptureFixture
) -> None:
    numbers = itertools.count()

    @settings(max_examples=MUTATIONS, suppress_health_check=list(HealthCheck), database=None)
    @given(st.data())
    def attack(data: st.DataObject) -> None:
        token = _mutated(target.good, data)
        good = token == target.good
        assert target.get(token).status_code == (200 if good else 401)
        if next(numbers) % 10 == 0:  # a handshake costs as much as ten requests
            with connect_in_step(target.url_with(token), compression=None) as ws:
                assert json.loads(ws.recv(timeout=5))["type"] == ("welcome" if good else "error")

    attack()
    assert [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR] == []


PRINTABLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=3)


def _mutated(token: str, data: st.DataObject) -> str:
    """Change a piece anywhere, or replace a part of the token by another."""
    if data.draw(st.integers(0, 9)) == 0:
        parts = token.split(".")
        return ".".join(data.draw(st.lists(st.sampled_from(parts), min_size=1, max_size=5)))
    position = data.draw(st.integers(0, len(token) - 1))
    return token[:position] + data.draw(PRINTABLE) + token[position + data.draw(st.integers(0, 3)) :]
