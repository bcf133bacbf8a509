"""The names of users of other services: each claim becomes a valid name, and no two users share one."""

import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from gateway.auth.external.user_names import marked_name, small_letters, user_name
from gateway.auth.external.users import external_user_id
from schemas.names import UserName

ROOT = Path(__file__).parents[4]
CAROL = external_user_id("acme", "user|7")
DIGITS = CAROL[-16:]

valid = TypeAdapter(UserName).validate_python

NAMES = [
    ("preferred_username", "carol", "carol"),
    ("preferred_username", "Carol", "carol"),
    ("preferred_username", "carol_smith", "carol_smith"),
    ("preferred_username", "carol.smith", "carol.smith"),
    ("email", "Carol@Example.com", "carol_example.com"),
    ("email", "carol_smith@mail.example.co.uk", "carol_smith_mail.example.co.uk"),
    ("sub", "carol@example.com", "carol_example.com"),
    ("email", "carol+1@example.com", f"carol-1-{DIGITS}"),
    ("email", f"{'c' * 30}@example.com", f"{'c' * 15}-{DIGITS}"),
    ("email", "carol@localhost", f"carol-{DIGITS}"),
    ("email", "carol@my_host.example", f"carol-{DIGITS}"),
    ("email", "@example.com", f"example.com-{DIGITS}"),
    ("sub", "auth0|6553da60a54af58e29493993", f"auth0-6553da60a-{DIGITS}"),
    ("sub", "google-oauth2|103547991597142817347", f"google-oauth2-1-{DIGITS}"),
    ("sub", "samlp|acme|carol@example.com", f"samlp-acme-caro-{DIGITS}"),
    ("sub", "123e4567-e89b-12d3-a456-426614174000", f"123e4567-e89b-1-{DIGITS}"),
    ("sub", "user_2NNEqL2nrIRdJ194ndJqAHwEfxC", f"user_2nneql2nri-{DIGITS}"),
    ("sub", "user_01hbeqka6k4qjas93vpe39w1jt", "user_01hbeqka6k4qjas93vpe39w1jt"),
    ("sub", "Carol", f"carol-{DIGITS}"),
    ("sub", "Carol@example.com", f"carol-{DIGITS}"),
    ("sub", "7", f"7-{DIGITS}"),
    ("name", "Çarol Müller", f"carol-muller-{DIGITS}"),
    ("name", "王小明", f"acme-{DIGITS}"),
    ("preferred_username", "\u212aarol", f"karol-{DIGITS}"),
    ("email", "\u212aarol@example.com", f"karol-{DIGITS}"),
    ("name", "../carol", f"carol-{DIGITS}"),
    ("name", "carol\n", f"carol-{DIGITS}"),
    ("name", "x" * 33, f"{'x' * 15}-{DIGITS}"),
    ("name", "\ud800", f"acme-{DIGITS}"),
    ("name", "ﷺ" * 5000, f"acme-{DIGITS}"),
]


@pytest.mark.parametrize(("claim", "text", "name"), NAMES, ids=itertools.count())
def test_every_text_of_a_claim_becomes_a_name(claim: str, text: str, name: str) -> None:
    assert user_name(claim, text, CAROL) == name
    assert valid(name) == name


def test_a_made_up_name_says_the_service() -> None:
    assert marked_name("", CAROL) == f"acme-{DIGITS}"
    longest = external_user_id("a" * 20, "user|7")
    assert valid(marked_name("", longest)) == f"{'a' * 15}-{longest[-16:]}"


@pytest.mark.parametrize(
    ("claim", "one", "another"),
    [
        ("preferred_username", "carol@example.com", "carol_example.com"),
        ("preferred_username", "auth0|carol", f"auth0-carol-{DIGITS}"),
        ("preferred_username", "a@b.c_d.e", "a_b.c@d.e"),
        ("email", f"carol@example.a-{DIGITS}", f"carol_example.a-{DIGITS}"),
        ("sub", "user_2abC", "user_2aBc"),
        ("preferred_username", "karol", "\u212aarol"),
        ("email", "karol@example.com", "karol@example.com".replace("k", "\u212a")),
        ("sub", "auth0|carol", "auth0-carol"),
        ("sub", "carol ", "carol"),
        ("sub", "carol", "саrol"),
    ],
)
def test_one_user_cannot_take_the_name_of_another(claim: str, one: str, another: str) -> None:
    names = {user_name(claim, text, external_user_id("acme", text)) for text in (one, another)}
    assert len(names) == 2


def test_the_same_text_of_two_services_becomes_two_names() -> None:
    names = {user_name("sub", "auth0|7", external_user_id(service, "auth0|7")) for service in ("acme", "other")}
    assert len(names) == 2


def test_only_a_letter_and_its_own_capital_are_one() -> None:
    capitals: dict[str, list[str]] = {}
    for letter in map(chr, range(0x110000)):
        if letter != letter.lower() and (small := small_letters(letter)) != letter:
            capitals.setdefault(small, []).append(letter)
    # Titles of letters such as Ǆ have two capitals: Ǆ and ǅ.
    assert {small for small, of_it in capitals.items() if len(of_it) > 1} == set("ǆǉǌǳ")
    assert small_letters("ΟΔΟΣ Éva \u212aarol") == "οδος éva \u212aarol"


_subjects = st.text(st.sampled_from("aA@._-+|1é"), min_size=1, max_size=12) | st.text(min_size=1, max_size=40)


@given(st.sets(_subjects, min_size=2, max_size=6))
def test_no_two_subjects_share_a_name(subjects: set[str]) -> None:
    names = [valid(user_name("sub", subject, external_user_id("acme", ascii(subject)))) for subject in subjects]
    assert len(set(names)) == len(subjects)


def test_the_document_shows_real_names() -> None:
    text = (ROOT / "docs/credentials.md").read_text().replace("\\|", "|")
    examples = re.findall(r"^\|.*\| `(\S+)` is `(\S+)` \|$", text, re.MULTILINE)
    assert len(examples) == 3
    for theirs, ours in examples:
        claim = "sub" if "|" in theirs else "preferred_username"
        assert user_name(claim, theirs, external_user_id("acme", theirs)) == ours
