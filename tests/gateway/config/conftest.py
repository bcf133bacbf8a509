"""The quick way to run a command, for the tests of what it refuses."""

from tests.gateway.cli.conftest import run_here as run_here
