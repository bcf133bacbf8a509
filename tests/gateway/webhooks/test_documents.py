"""What docs/routes.md says of events is what the code does."""

import json
import re
from pathlib import Path
from typing import get_args

from gateway.cli import hooks as commands
from gateway.config.settings import Settings
from gateway.routes.model import EventType
from gateway.webhooks.backoff import DELAYS
from gateway.webhooks.delivery import DELIVERY_SECONDS, PARALLEL
from gateway.webhooks.unseen import PAGE
from schemas.messages.chat import Message

PAGE_OF_DOCUMENTS = Path(__file__).parents[3] / "docs" / "routes.md"
UNITS = {"s": 1, "min": 60, "h": 3600, "day": 86400, "days": 86400}


def section() -> str:
    text = PAGE_OF_DOCUMENTS.read_text(encoding="utf-8")
    return text.partition("## Events out\n")[2].partition("\n## ")[0]


def test_the_table_has_each_type() -> None:
    assert set(re.findall(r"^\| `([a-z.]+)` \|", section(), re.MULTILINE)) == set(get_args(EventType))


def test_the_example_is_an_event_as_it_goes_out() -> None:
    [example] = [json.loads(line) for line in section().splitlines() if line.startswith('{"type"')]
    assert list(example) == ["type", "timestamp", "data"]
    message = Message.model_validate(example["data"]["message"])
    assert message.model_dump(exclude_none=True) == example["data"]["message"]


def test_the_numbers_are_those_of_the_code() -> None:
    text = " ".join(section().split())
    [listed] = re.findall(r"comes after (.+?), each up to", text)
    delays = [int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+) (s|min|h|days?)\b", listed)]
    assert tuple(delays) == DELAYS
    assert f"none within {DELIVERY_SECONDS} seconds" in text
    assert f"Up to {PARALLEL} rooms and users" in text
    assert f"up to {PAGE} names" in text
    assert f"({Settings.model_fields['max_events_per_hook'].default:,})" in text


def test_the_commands_are_those_of_the_command() -> None:
    there = {command.name or getattr(command.callback, "__name__", "") for command in commands.app.registered_commands}
    assert set(re.findall(r"`gateway hooks ([a-z]+)", section())) == there
