"""`compose.yaml`, as Docker Compose itself reads it."""

import json
import os
import re
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway import __version__
from gateway.config.proxies import TrustedProxies
from gateway.config.settings import load_settings
from tests.deploy.defaults import LONGEST_STOP, PORT, ROOT, SPARE, default

pytestmark = pytest.mark.server

WAIT_SECONDS = 60
NEEDED = {
    "SITE": "gateway.test",
    "GATEWAY_SECRET_KEY": secrets.token_hex(32),
    "POSTGRES_PASSWORD": "p1",
    "VALKEY_PASSWORD": "v1",
}
GATEWAYS = ("gateway-1", "gateway-2")


def compose(**variables: str) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name("docker-compose"))
    command = [program, "--env-file", os.devnull, "config", "--format", "json"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    return subprocess.run(
        command, cwd=ROOT, env=clean | variables, capture_output=True, text=True, timeout=WAIT_SECONDS
    )


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """Each service, with the values of `NEEDED`."""
    done = compose(**NEEDED)
    assert done.returncode == 0, done.stderr
    services: dict[str, Any] = json.loads(done.stdout)["services"]
    return services


def seconds(duration: str) -> float:
    """Return the seconds of a duration such as 1m0s."""
    return sum(float(number) * {"m": 60, "s": 1}[unit] for number, unit in re.findall(r"([\d.]+)([ms])", duration))


@pytest.mark.parametrize("missing", NEEDED)
def test_it_starts_nothing_without(missing: str) -> None:
    done = compose(**{name: value for name, value in NEEDED.items() if name != missing})
    assert done.returncode != 0
    assert f"required variable {missing} is missing" in done.stderr


@pytest.mark.parametrize("name", ["caddy", *GATEWAYS, "postgres", "valkey"])
def test_each_service_is_hardened_and_watched(services: dict[str, Any], name: str) -> None:
    service = services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "caddy" else [])
    # The gateway's image has a check of its own.
    assert "healthcheck" in service or name in GATEWAYS
    assert "privileged" not in service


def test_only_the_proxy_can_be_reached_from_outside(services: dict[str, Any]) -> None:
    assert {name for name, service in services.items() if "ports" in service} == {"caddy"}
    assert set(services["postgres"]["networks"]) == set(services["valkey"]["networks"]) == {"back"}


@pytest.mark.parametrize("name", GATEWAYS)
def test_a_gateway_has_time_to_drain_and_the_default_settings(services: dict[str, Any], name: str) -> None:
    service = services[name]
    assert seconds(service["stop_grace_period"]) >= LONGEST_STOP + SPARE
    assert float(service["environment"]["GATEWAY_DRAIN_SECONDS"]) == default("GATEWAY_DRAIN_SECONDS")
    assert service["image"] == f"json-gateway:{__version__}"
    assert [volume["target"] for volume in service["volumes"]] == ["/data"]


@pytest.mark.parametrize("name", GATEWAYS)
def test_its_settings_are_settings_and_good_for_production(
    services: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable, value in services[name]["environment"].items():
        if value is not None:
            monkeypatch.setenv(variable, value)
    settings = load_settings(environment="production")
    proxy = services["caddy"]["networks"]["front"]["ipv4_address"]
    assert TrustedProxies(settings.trusted_proxies).trusts(proxy)
    assert settings.database_url == "postgresql://gateway:p1@postgres/gateway"
    assert settings.bus_url == "redis://:v1@valkey:6379"


def test_the_proxy_stops_after_the_gateways_and_knows_both(services: dict[str, Any]) -> None:
    assert services["caddy"]["environment"]["NODES"].split() == [f"{name}:{PORT}" for name in GATEWAYS]
    assert {name: wait["condition"] for name, wait in services["caddy"]["depends_on"].items()} == dict.fromkeys(
        GATEWAYS, "service_healthy"
    )
    assert seconds(services["caddy"]["stop_grace_period"]) > seconds(services[GATEWAYS[0]]["stop_grace_period"])
