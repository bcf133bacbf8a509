"""What the files of `deploy/` must agree with: the defaults of the settings, and the times of a stop."""

from pathlib import Path
from typing import Any

from gateway.cli.replacement import LAST_SECONDS
from gateway.cli.serve import CANCEL_SECONDS, HANDOVER_SECONDS, SHUTDOWN_SECONDS
from gateway.config.settings import Settings

ROOT = Path(__file__).parents[2]
PORT = 8000
USER = 10001

LONGEST_STOP = Settings.model_fields["drain_seconds"].default + max(
    HANDOVER_SECONDS + SHUTDOWN_SECONDS + CANCEL_SECONDS, LAST_SECONDS
)
"""Seconds from SIGTERM to the end, with several workers too."""

SPARE = 5
"""Seconds to write out the audit log and to close the store on a busy machine."""

SECRETS = {"GATEWAY_SECRET_KEY", "GATEWAY_DATABASE_URL", "GATEWAY_BUS_URL", "GATEWAY_METRICS_TOKEN"}


def default(variable: str) -> Any:
    """Return the default of a setting, by the name of its variable."""
    return Settings.model_fields[variable.removeprefix("GATEWAY_").lower()].default
