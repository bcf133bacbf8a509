"""`gateway token check`: each check of a token of another service, with its result."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.auth.forging import ec_signer
from tests.gateway.cli.command import Result, Terminal
from tests.gateway.cli.conftest import RunHere
from tests.support.issuer import FakeService, running_service

ALL = (
    *("form", "header", "algorithm", "type", "key", "signature", "claims", "issuer", "audience", "client"),
    *("required", "times", "user name", "scopes", "rooms"),
)

pytestmark = pytest.mark.server

first = ec_signer("first")


@pytest.fixture(scope="module")
def issuer() -> Iterator[FakeService]:
    with running_service() as service:
        service.keys = [first.jwk()]
        yield service


class Checker:
    """Runs the command with an issuer in the settings."""

    def __init__(self, run_here: RunHere, folder: Path, issuer: FakeService) -> None:
        self.run_here = run_here
        self.folder = folder
        self.trusted = {"issuer": issuer.url, "audience": "chat", "jwks_url": f"{issuer.url}/keys"}

    def run(self, token: str, *options: str, issuers: dict[str, Any] | None = None, **described: Any) -> Result:
        """Check a token from standard input."""
        services = {"acme": self.trusted | described} if issuers is None else issuers
        variables = {"GATEWAY_ISSUERS": json.dumps(services)}
        result = self.run_here(self.folder, "token", "check", "-", *options, typed=token, **variables)
        assert token[:60] not in result.out + result.err
        assert not (self.folder / "data").exists()
        return result


@pytest.fixture
def checker(run_here: RunHere, tmp_path: Path, issuer: FakeService) -> Checker:
    return Checker(run_here, tmp_path, issuer)


def results(out: str) -> dict[str, str]:
    """The result of each check."""
    return dict(re.findall(r"^  (\S+(?: name)?) +(ok|failed|warning|-) ", out, re.MULTILINE))


def line(out: str, check: str) -> str:
    [found] = [each for each in out.splitlines() if each.startswith(f"  {check} ")]
    return found


def test_a_good_token_passes_every_check(checker: Checker, issuer: FakeService) -> None:
    token = issuer.token(first, azp="web", sub="auth0|7", typ="Bearer", groups=["talk"], rooms={"team-*": ["join"]})
    checked = checker.run(
        f"Bearer {token}\n",
        client_ids=["web"],
        user_claim="sub",
        scope_claim="groups",
        scopes={"talk": ["chat:read"]},
        rooms_claim="rooms",
        required_claims={"typ": "Bearer"},
    )
    assert (checked.status, checked.err) == (0, "")
    assert results(checked.out) == dict.fromkeys(ALL, "ok")
    assert tuple(results(checked.out)) == ALL
    assert re.search(r'auth0-7-[0-9a-f]{16}, from sub "auth0\|7"', line(checked.out, "user name"))
    assert 'chat:read, of groups ["talk"]' in line(checked.out, "scopes")
    assert '{"team-*": ["join"]}' in line(checked.out, "rooms")
    assert checked.out.endswith("  accepted\n")


def test_a_token_from_a_file_is_checked_for_each_service_or_for_one(
    checker: Checker, issuer: FakeService, run_here: RunHere, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(issuer.token(first) + "\n")
    services = {"acme": checker.trusted, "other": checker.trusted | {"audience": "other"}}
    variables = {"GATEWAY_ISSUERS": json.dumps(services)}
    both = run_here(tmp_path, "token", "check", "token", **variables)
    assert both.status == 0
    assert [each for each in both.out.splitlines() if not each.startswith("  ")] == [
        f"acme, the issuer {issuer.url}",
        f"other, the issuer {issuer.url}",
    ]
    other = run_here(tmp_path, "token", "check", "token", "--service", "other", **variables)
    assert other.status == 1
    assert other.out.startswith("other, ")
    assert other.out.endswith("  refused: audience\n")
    unknown = run_here(tmp_path, "token", "check", "token", "--service", "clerk", **variables)
    assert unknown.problem == "--service: expected one of GATEWAY_ISSUERS: acme, other"


def test_every_failed_check_is_named_and_the_others_go_on(checker: Checker, issuer: FakeService) -> None:
    claims = issuer.claims(iss="https://evil.example/\x1b[31m", aud=["a", "b"], azp="x", nbf=int(time.time()) + 3600)
    token = ec_signer("first").sign(claims, typ="logout+jwt", zip="DEF")
    required = {"typ": "Bearer", "sts": ["active", None]}
    checked = checker.run(
        token, required_claims=required, client_ids=["web"], scopes={"talk": ["chat:read"]}, rooms_claim="rooms"
    )
    assert checked.status == 1
    failed = ("header", "type", "signature", "issuer", "audience", "client", "required", "times")
    expected = {name: "failed" if name in failed else "ok" for name in ALL} | {"scopes": "warning", "rooms": "warning"}
    assert results(checked.out) == expected
    assert checked.out.endswith(f"  refused: {', '.join(failed)}\n")
    assert "a wrong signature; what follows is unproven" in line(checked.out, "signature")
    assert f'than {issuer.url}; the token has "https://evil.example/\\u001b[31m"' in line(checked.out, "issuer")
    assert 'than chat; the token has ["a", "b"]' in line(checked.out, "audience")
    assert 'the token has azp "x"' in line(checked.out, "client")
    assert "a claim `typ` other than Bearer; the token has typ none, sts none" in line(checked.out, "required")
    assert "\x1b" not in checked.out


def test_an_expired_token_is_checked_with_a_warning(checker: Checker, issuer: FakeService) -> None:
    checked = checker.run(issuer.token(first, exp=int(time.time()) - 600))
    assert (checked.status, results(checked.out)["times"]) == (0, "warning")
    assert "10 minutes ago" in line(checked.out, "times")
    assert checked.out.endswith("  accepted, if it had not expired\n")


@pytest.mark.parametrize(
    ("changes", "check", "text"),
    [
        ({"sub": ...}, "claims", "no claim `sub`"),
        ({"preferred_username": ...}, "user name", "the token has no `preferred_username`"),
        ({"aud": ...}, "audience", "no audience, and no client_ids set"),
        ({"exp": 2**53}, "times", "good until the end of time"),
        ({"aud": "x" * 2000}, "audience", "x…"),
    ],
)
def test_a_line_says_what_the_check_has_found(
    checker: Checker, issuer: FakeService, changes: dict[str, Any], check: str, text: str
) -> None:
    assert text in line(checker.run(issuer.token(first, **changes)).out, check)


def test_a_key_that_is_not_there_leaves_the_claims_unproven(checker: Checker, issuer: FakeService) -> None:
    unknown = checker.run(issuer.token(ec_signer("second")))
    assert results(unknown.out) | {"key": "failed", "signature": "-", "issuer": "ok"} == results(unknown.out)
    assert 'the issuer does not have; the token has "second"' in line(unknown.out, "key")
    silent = checker.run(issuer.token(first), jwks_url="http://127.0.0.1:1/keys")
    assert (silent.status, results(silent.out)["key"]) == (1, "failed")
    assert "could not be fetched" in line(silent.out, "key")


def test_a_note_says_that_the_token_is_of_no_service_here(checker: Checker, issuer: FakeService) -> None:
    assert checker.run(issuer.token(first)).err == ""
    own = checker.run(issuer.token(first, iss="json-gateway"))
    assert own.err == "note: this is a token of this gateway itself, which counts without ?service=\n"
    other = checker.run(issuer.token(first, iss="https://a.example/\x1b"))
    assert other.err == 'note: no service of GATEWAY_ISSUERS has the issuer "https://a.example/\\u001b" of this token\n'


def test_a_terminal_asks_for_the_token_and_does_not_show_it(issuer: FakeService, tmp_path: Path) -> None:
    trusted = {"issuer": issuer.url, "audience": "chat", "jwks_url": f"{issuer.url}/keys"}
    token = issuer.token(first)
    with Terminal(tmp_path, "token", "check", "-", GATEWAY_ISSUERS=json.dumps({"acme": trusted})) as terminal:
        terminal.expect("Token: ")
        assert not terminal.echoes()
        terminal.type(token + "\n")
        terminal.expect("  accepted")
        assert terminal.end() == 0
    assert token[:60] not in terminal.raw


def test_an_encrypted_token_is_named(checker: Checker) -> None:
    assert "an encrypted token has five" in line(checker.run("a.b.c.d.e").out, "form")


@pytest.mark.parametrize("token", ["a.b", "x" * 5000, "eyJhbGciOiJFUzI1NiJ9.WzFd.AA", "gwk_1_2", "ä.ö.ü", "\x1b[31m"])
def test_what_is_no_token_fails_its_form_or_its_claims(checker: Checker, token: str) -> None:
    checked = checker.run(token)
    assert checked.status == 1
    assert "failed" in results(checked.out).values()
    assert checked.out.splitlines()[-1].startswith("  refused: ")
    assert "\x1b" not in checked.out


def test_a_wrong_file_is_one_line_without_what_was_typed(
    run_here: RunHere, tmp_path: Path, issuer: FakeService
) -> None:
    variables = {"GATEWAY_ISSUERS": json.dumps({"acme": {"issuer": "a", "audience": "b", "jwks_url": issuer.url}})}
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for file in (issuer.token(first), "missing", ".", "binary", "\udcff"):
        problem = run_here(tmp_path, "token", "check", file, **variables).problem
        assert problem.startswith("FILE: expected a file with a token, or - for standard input (")
        assert issuer.token(first)[:20] not in problem
    assert (
        run_here(tmp_path, "token", "check", "-", typed=" \n", **variables).problem
        == "FILE: expected a token, got nothing"
    )
    none = run_here(tmp_path, "token", "check", "-", typed="a.b.c").problem
    assert none == (
        "GATEWAY_ISSUERS: expected an issuer of tokens, got none; "
        "run this in the folder of the gateway, or with its variables"
    )


def test_a_user_with_the_name_of_a_command_has_the_long_form(run_here: RunHere, tmp_path: Path) -> None:
    for words in (("print", "check"), ("--minutes", "2", "check"), ("--", "check")):
        assert run_here(tmp_path, "token", *words).problem.startswith("there is no user check that is enabled")
    assert "USER | check FILE" in run_here(tmp_path, "token", "--help").out
