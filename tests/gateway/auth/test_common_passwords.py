"""Passwords that attackers guess first are refused."""

import pytest

from gateway.auth.common_passwords import common_problem
from tests.support.client import App


@pytest.mark.parametrize("password", ["password", "PassWord", "12345678", "qwertyuiop", "iloveyou", "trustno1"])
def test_what_all_services_check_is_refused_in_any_case(password: str) -> None:
    assert common_problem(password, "alice") is not None


@pytest.mark.parametrize("password", ["alice-margaret", "ALICE-MARGARET", "teragram-ecila"])
def test_the_user_name_is_no_password(password: str) -> None:
    assert common_problem(password, "alice-margaret") is not None


@pytest.mark.parametrize("password", ["correct horse battery staple", "# Passwords", "päßwörter", "x7 jmq p"])
def test_everything_else_is_taken(password: str) -> None:
    assert common_problem(password, "alice") is None


async def test_nobody_registers_with_or_changes_to_one(app: App, alice: str) -> None:
    refused = await app.register(alice, "password1")
    assert refused.status_code == 422
    assert [detail["field"] for detail in refused.json()["details"]] == ["password"]
    assert "password1" not in refused.text
    body = {"old_password": "correct horse battery staple", "new_password": alice}
    refused = await app.ask("PUT", "/users/me/password", await app.token(alice), json=body)
    assert refused.status_code == 422
    assert [detail["field"] for detail in refused.json()["details"]] == ["new_password"]
    assert (await app.log_in(alice)).status_code == 200
