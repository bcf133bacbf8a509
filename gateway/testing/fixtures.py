"""A fixture for pytest: write `pytest_plugins = ["gateway.testing.fixtures"]` into the `conftest.py` of your tests."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.config.settings import Settings
from gateway.testing.server import Gateway, StartGateway, running_gateway, settings_for_tests

SETTINGS = Settings.model_fields.keys() - {"registry"}
"""What `start_gateway` takes for the settings. A registry is the object itself here, not the name of one."""


@pytest.fixture
def start_gateway(tmp_path: Path) -> Iterator[StartGateway]:
    """Start gateways for one test: `start_gateway(registry=…, lifespan=…, message_rate=5)`.

    It takes settings by name, and what `running_gateway` takes. All gateways end with the test.
    """
    with ExitStack() as stack:

        def start(**options: Any) -> Gateway:
            changes = {name: options.pop(name) for name in SETTINGS & options.keys()}
            return stack.enter_context(running_gateway(settings_for_tests(tmp_path, **changes), **options))

        yield start
