"""Rights by room: how a claim is read, and what it allows."""

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from gateway.auth import room_rights
from gateway.auth.keys.key_ring import KeyRing
from gateway.auth.room_rights import (
    MAX_PATTERNS,
    MAX_ROOMS_LENGTH,
    NO_ROOMS,
    Right,
    RoomRights,
    both,
    either,
    read_claim,
    rights_of,
    united,
)
from gateway.auth.tokens import Tokens
from gateway.core.folding import FoldedLog
from gateway.testing import MovableClock
from schemas.messages.auth import MAX_TOKEN_LENGTH
from schemas.names import MAX_SCOPES_LENGTH
from tests.gateway.auth.forging import signer_of

CLAIM = {"team-*": ["join", "send"], "news": ["join"], "own-*": ["create", "join", "send"]}


@pytest.fixture(autouse=True)
def _log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start with a log that has folded nothing."""
    monkeypatch.setattr(room_rights, "_log", FoldedLog(room_rights.logger, logging.WARNING, same=1))


def allowed(claim: Mapping[str, Any], room: str) -> set[str]:
    rights = RoomRights.parse(claim)
    return {right.value for right in Right if rights.allows(right, room)}


def test_a_claim_allows_what_any_of_its_fitting_patterns_has() -> None:
    assert allowed(CLAIM, "team-red") == {"join", "send"}
    assert allowed(CLAIM, "news") == {"join"}
    assert allowed(CLAIM, "own-1") == {"join", "send", "create"}
    assert allowed(CLAIM, "lobby") == set()
    assert allowed({"*": ["join"], "lobby": ["send"]}, "lobby") == {"join", "send"}
    assert allowed({"*": ["join"], "lobby": []}, "lobby") == {"join"}
    assert allowed({}, "lobby") == set()


@pytest.mark.parametrize(
    "claim",
    [
        None,
        [],
        "team-*",
        True,
        ["team-*"],
        {"**": ["join"]},
        {"*a*b*c*d*": ["join"]},
        {"": ["join"]},
        {"Team-*": ["join"]},
        {"a" * 65: ["join"]},
        {"team-*\n": ["join"]},
        {"team-*": "join"},
        {"team-*": None},
        {"team-*": {"join": True}},
        {"team-*": ["join", "moderate"]},
        {"team-*": ["JOIN"]},
        {"team-*": [["join"]]},
        {"team-*": [1]},
        {7: ["join"]},
        {f"room-{number}": ["join"] for number in range(MAX_PATTERNS + 1)},
    ],
)
def test_a_claim_that_cannot_be_read_allows_nothing_and_its_content_is_not_logged(
    claim: object, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ValueError, match=r"expected|write one star"):
        RoomRights.parse(claim)
    for _ in range(100):
        assert read_claim(claim, "acme") == NO_ROOMS
    assert not any(NO_ROOMS.allows(right, "lobby") for right in Right)
    (line,) = caplog.messages  # once a minute, however often such a token comes
    assert line.startswith("a token of the service acme has a claim about rooms that cannot be read")
    assert "moderate" not in line
    assert "room-1" not in line


def test_as_many_patterns_as_may_be_are_read() -> None:
    claim = {f"room-{number}": ["join"] for number in range(MAX_PATTERNS)}
    assert RoomRights.parse(claim).claim == claim


def test_what_is_written_is_read_as_the_same_object() -> None:
    rights = RoomRights.parse(CLAIM)
    assert rights_of(rights.text) == rights
    assert RoomRights.parse(json.loads(json.dumps(rights.claim))) is rights
    assert rights_of(None) is None


def test_two_claims_together_allow_only_what_both_allow() -> None:
    token, group = RoomRights.parse({"team-*": ["join", "send"]}), RoomRights.parse({"*-red": ["join", "create"]})
    narrow = both(token, group)
    assert narrow is not None
    assert narrow.allows(Right.JOIN, "team-red")
    assert not narrow.allows(Right.SEND, "team-red")
    assert not narrow.allows(Right.CREATE, "team-red")
    assert not narrow.allows(Right.JOIN, "team-blue")
    assert rights_of(narrow.text) == narrow
    assert narrow.claim == {}  # no pattern says what both allow
    same = both(token, RoomRights.parse({"team-*": ["create", "join"], "news": ["join"]}))
    assert same is not None
    assert same.claim == {"team-*": ["join"]}
    assert both(token, token) is token
    assert both(narrow, token) == narrow
    assert both(token, None) is token
    assert both(None, token) is token
    assert both(None, None) is None
    assert both(token, NO_ROOMS) is not None
    assert not (token & NO_ROOMS).allows(Right.JOIN, "team-red")


def test_the_rights_of_several_groups_add_up() -> None:
    rights = united([RoomRights.parse(each) for each in ({"a": ["join"], "b": ["join"]}, {"b": ["send"]}, {})])
    assert rights.claim == {"a": ["join"], "b": ["join", "send"]}
    assert united([]) == NO_ROOMS
    many = [RoomRights.parse({f"room-{number}": ["join"]}) for number in range(MAX_PATTERNS + 1)]
    assert len(united(many).claim) == MAX_PATTERNS + 1
    assert either(many[0], None) == either(None, many[0]) == many[0]
    assert either(None, None) is None


def longest_rights() -> RoomRights:
    claim: dict[str, list[str]] = {}
    while len(json.dumps(claim | {"x": []}, separators=(",", ":"))) < MAX_ROOMS_LENGTH - 100:
        claim[f"{len(claim):02}-{'x' * 53}-*"] = ["create", "join", "send"]
    return RoomRights.parse(claim)


def tokens_of(ring: KeyRing) -> Tokens:
    return Tokens(ring, "https://api.example.com", "chat.example.com", 900, MovableClock())


def longest_scopes() -> frozenset[str]:
    return frozenset(f"{number:02}{'x' * 61}" for number in range(MAX_SCOPES_LENGTH // 64))


@pytest.mark.parametrize("algorithm", ["HS256", "ES256", "RS256"])
def test_a_token_with_the_longest_rights_and_scopes_is_no_longer_than_a_token_may_be(algorithm: str) -> None:
    tokens = tokens_of(signer_of(algorithm).ring())
    token = tokens.issue("f" * 32, longest_scopes(), session_id="s" * 22, rooms=longest_rights())
    assert len(token) <= MAX_TOKEN_LENGTH
    assert RoomRights.parse(tokens.verify(token).rooms) == longest_rights()


def test_rights_that_find_no_place_in_a_token_are_left_to_the_store(caplog: pytest.LogCaptureFixture) -> None:
    tokens = replace(tokens_of(signer_of("RS256").ring()), issuer="i" * 128, audience="a" * 128)
    token = tokens.issue("f" * 128, longest_scopes(), session_id="s" * 22, rooms=longest_rights())
    assert len(token) <= MAX_TOKEN_LENGTH
    assert "no room for its claim `rooms`" in caplog.text
