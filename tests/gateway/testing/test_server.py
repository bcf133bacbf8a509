"""`running_gateway` and `start_gateway`, as an application's tests use them."""

import subprocess
import sys

import httpx2
import pytest
from fastapi import FastAPI

from gateway.testing import StartGateway, running_gateway
from tests.support.client import NO_AUTHORITIES, WAIT_SECONDS

pytestmark = pytest.mark.server


def test_a_gateway_without_settings_has_its_data_in_a_temporary_folder() -> None:
    with running_gateway() as gateway:
        folder = gateway.settings.data_dir
        assert folder.exists()
        assert gateway.host == "127.0.0.1"
        assert httpx2.get(f"{gateway.url}/healthz", timeout=WAIT_SECONDS, verify=NO_AUTHORITIES).status_code == 200
    assert not folder.exists()


def test_the_fixture_takes_settings_and_the_rest(start_gateway: StartGateway) -> None:
    gateway = start_gateway(max_message_bytes=2048, state="mine")
    assert gateway.settings.max_message_bytes == 2048
    assert gateway.state.app_state == "mine"


async def test_a_token_has_the_scopes_that_the_test_names(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    token = await gateway.token("alice", "admin", "chat:read")
    headers = {"Authorization": f"Bearer {token}"}
    me = httpx2.get(f"{gateway.url}/users/me", headers=headers, timeout=WAIT_SECONDS, verify=NO_AUTHORITIES)
    assert set(me.json()["scopes"]) == {"admin", "chat:read"}


@pytest.mark.parametrize("wrong", ["no_such_setting", "dataa_dir"])
def test_an_unknown_option_is_an_error(start_gateway: StartGateway, wrong: str) -> None:
    with pytest.raises(TypeError, match=wrong):
        start_gateway(**{wrong: 1})


def test_an_application_in_place_of_settings_is_an_error() -> None:
    with pytest.raises(TypeError, match="this makes the application itself"):
        with running_gateway(FastAPI()):  # type: ignore[arg-type]
            pytest.fail("it has started")


def test_no_pytest_is_imported_without_the_fixtures() -> None:
    program = "import sys, gateway.testing; sys.exit('pytest' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
