"""Refresh tokens: opaque, and with one successor that only the gateway can tell."""

from itertools import pairwise

import pytest

from gateway.auth import refresh_tokens

KEY = refresh_tokens.successor_key("a secret")


def test_a_token_is_read_back_as_it_was_made() -> None:
    token = refresh_tokens.new()
    assert refresh_tokens.parse(token.text) == token
    assert len(token.text) == 4 + 22 + 43  # 128 bits that stay, 256 that change


def test_no_two_tokens_have_anything_in_common() -> None:
    tokens = [refresh_tokens.new() for _ in range(100)]
    assert len({token.family for token in tokens} | {token.secret for token in tokens}) == 200


def test_a_token_has_one_successor_of_the_same_login_and_another_for_another_key() -> None:
    token = refresh_tokens.new()
    successor = token.successor(KEY)
    assert successor == token.successor(KEY)
    assert successor.family_hash == token.family_hash
    assert successor.secret != token.secret
    assert token.successor(refresh_tokens.successor_key("another secret")) != successor
    assert refresh_tokens.parse(successor.text) == successor


def test_the_tokens_of_a_login_never_come_back() -> None:
    chain = [refresh_tokens.new()]
    for _ in range(50):
        chain.append(chain[-1].successor(KEY))
    assert len({token.hash for token in chain}) == 51
    for one, next in pairwise(chain):
        assert one.hash not in next.text


@pytest.mark.parametrize(
    "text", ["", "gwr_", "gwr_" + "a" * 64, "gwr_" + "a" * 66, "GWR_" + "a" * 65, "gwr_" + "ä" * 65]
)
def test_what_is_none_is_known_by_its_form(text: str) -> None:
    assert refresh_tokens.parse(text) is None
    assert refresh_tokens.parse(refresh_tokens.new().text + "\n") is None
