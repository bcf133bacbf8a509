"""The documents match the code."""

import re
from pathlib import Path

import pytest

from gateway.config.external_services import Introspection, Issuer
from gateway.config.settings import PREFIX, Settings
from handlers.registry import HANDLERS
from schemas.base import Event
from schemas.codes import Close, Status
from schemas.events import chat, presence, rooms, system

ROOT = Path(__file__).parents[1]
PROTOCOL = (ROOT / "docs/protocol.md").read_text()


def table(number: int) -> list[list[str]]:
    """The rows of the table in a section of docs/protocol.md."""
    sections = re.split(r"^## ", PROTOCOL, flags=re.MULTILINE)
    [section] = [section for section in sections if section.startswith(f"{number}. ")]
    rows = [line.strip("| \n").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_the_table_of_status_codes_is_the_one_of_the_code() -> None:
    assert [(int(row[0]), row[1], without_links(row[2])) for row in table(2)] == [
        (int(status), status.name.lower(), status.meaning) for status in Status
    ]


def without_links(text: str) -> str:
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)


def test_the_statuses_that_may_be_tried_again_are_those_of_the_code() -> None:
    sentence = re.search(r"`retryable` is true for ([^.]*)\.", PROTOCOL)
    assert sentence is not None
    assert {int(number) for number in re.findall(r"\d{5}", sentence[1])} == {
        int(status) for status in Status if status.retryable
    }


def test_the_table_of_close_codes_is_the_one_of_the_code() -> None:
    assert [(int(row[0]), row[1], row[2], row[3]) for row in table(3)] == [
        (close.code, close.reason, close.reconnect.value, close.meaning) for close in Close
    ]


def test_every_close_reason_fits_into_a_close_frame() -> None:
    assert all(close.reason.isascii() and len(close.reason) <= 123 for close in Close)


def test_the_table_of_message_types_is_the_one_of_the_code() -> None:
    documented = {row[0].strip("`"): row[1].strip("`") or None for row in table(6)}
    assert documented == {name: handler.scope for name, handler in HANDLERS.items()}


def test_every_event_is_documented() -> None:
    events = [
        found
        for module in (chat, presence, rooms, system)
        for found in vars(module).values()
        if isinstance(found, type) and issubclass(found, Event) and found is not Event
    ]
    assert len(events) >= 15
    for event in events:
        assert f"`{event.type}`" in PROTOCOL or f'"{event.type}"' in PROTOCOL, event.type


def test_the_table_of_limits_has_the_defaults_of_the_settings() -> None:
    for row in table(7):
        if not row[0].startswith(f"`{PREFIX}"):
            continue  # of what a message costs
        name = row[0].strip("`").removeprefix(PREFIX).lower()
        assert str(Settings.model_fields[name].default) == row[1], name


def test_every_key_of_an_outside_service_is_documented() -> None:
    text = (ROOT / "docs/tokens.md").read_text()
    for field in Issuer.model_fields.keys() | Introspection.model_fields.keys():
        assert f"`{field}`" in text or f'"{field}"' in text, field


def test_every_handler_says_what_it_does() -> None:
    for name, handler in HANDLERS.items():
        assert handler.__doc__, name
        assert handler.schema.__doc__, name


@pytest.mark.parametrize(
    "document", ["README.md", "SECURITY.md", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/**/*.md"))]
)
def test_every_place_that_a_document_links_to_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#:]*)(?:#([^)]*))?\)", text):
        linked = (ROOT / document).parent / target if target else ROOT / document
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked.read_text()), f"{target}#{anchor}"


def anchors(text: str) -> set[str]:
    """Return the anchors that a forge gives to the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
