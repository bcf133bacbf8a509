"""Two gateways that share a data folder without a bus."""

from pathlib import Path

import pytest

from gateway.testing import running_gateway, settings_for_tests

pytestmark = pytest.mark.server

WARNING = "another gateway serves from"


def test_a_second_gateway_without_a_bus_says_that_neither_hears_the_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_for_tests(tmp_path)
    with running_gateway(settings):
        assert WARNING not in caplog.text
        with running_gateway(settings):
            assert f"{WARNING} {tmp_path} as well" in caplog.text
            assert "add for example GATEWAY_BUS_URL=redis://" in caplog.text


def test_whoever_comes_after_another_has_gone_is_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        with running_gateway(settings_for_tests(tmp_path)):
            pass
    assert WARNING not in caplog.text
