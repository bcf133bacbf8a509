"""Refresh tokens: opaque, and each with one successor."""

import pytest

from gateway.auth import refresh_tokens


def test_a_token_is_read_back_as_it_was_made() -> None:
    token = refresh_tokens.new()
    assert refresh_tokens.parse(token.text) == token
    assert len(token.text) == 4 + 22 + 43  # 128 bits that stay, 256 that change


def test_no_two_tokens_have_anything_in_common() -> None:
    tokens = [refresh_tokens.new() for _ in range(100)]
    assert len({token.family for token in tokens} | {token.secret for token in tokens}) == 200


def test_a_successor_takes_both_the_token_and_the_nonce() -> None:
    token, nonce = refresh_tokens.new(), refresh_tokens.new_nonce()
    successor = token.successor(nonce)
    assert successor == token.successor(nonce)
    assert successor.family_hash == token.family_hash
    assert refresh_tokens.parse(successor.text) == successor
    others = {token, refresh_tokens.new().successor(nonce), token.successor(refresh_tokens.new_nonce())}
    assert successor.secret not in {other.secret for other in others}


def test_the_tokens_of_a_login_never_come_back() -> None:
    chain = [refresh_tokens.new()]
    for _ in range(50):
        chain.append(chain[-1].successor(refresh_tokens.new_nonce()))
    assert len({token.hash for token in chain}) == 51


@pytest.mark.parametrize(
    "text", ["", "gwr_", "gwr_" + "a" * 64, "gwr_" + "a" * 66, "GWR_" + "a" * 65, "gwr_" + "ä" * 65]
)
def test_what_is_none_is_known_by_its_form(text: str) -> None:
    assert refresh_tokens.parse(text) is None
    assert refresh_tokens.parse(refresh_tokens.new().text + "\n") is None
