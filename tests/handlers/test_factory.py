"""The handler for each message, and the answers to wrong envelopes."""

from typing import Any

import pytest

from handlers.registry import HANDLERS
from tests.support.client import App

WRONG_ENVELOPES: dict[str, tuple[dict[str, Any], str]] = {
    "no type": ({"id": 1}, "type"),
    "a type that is a number": ({"type": 7, "id": 1}, "type"),
    "a type that is null": ({"type": None, "id": 1}, "type"),
    "an empty type": ({"type": "", "id": 1}, "type"),
    "a type of 65 characters": ({"type": "x" * 65, "id": 1}, "type"),
    "an unknown key": ({"type": "ping", "id": 1, "extra": 1}, "extra"),
    "a key of ours": ({"type": "ping", "id": 1, "status": 20000}, "status"),
}

WRONG_IDS: dict[str, Any] = {
    "an object": {},
    "an array": [1],
    "true": True,
    "a fraction": 1.5,
    "a whole number as a fraction": 1.0,
    "an empty string": "",
    "65 characters": "x" * 65,
}


@pytest.mark.parametrize(("message", "field"), WRONG_ENVELOPES.values(), ids=WRONG_ENVELOPES)
async def test_a_wrong_envelope_is_answered_with_the_field_and_the_id(
    app: App, alice: str, message: dict[str, Any], field: str
) -> None:
    async with app.connect(alice) as client:
        await client.send(message)
        error = await client.expect("error", status=42200, name="validation_failed", id=1)
        assert [detail["field"] for detail in error["details"]] == [field]
        await client.expect_nothing()


@pytest.mark.parametrize("id", WRONG_IDS.values(), ids=WRONG_IDS)
async def test_an_id_of_the_wrong_kind_is_refused_and_not_echoed(app: App, alice: str, id: Any) -> None:
    async with app.connect(alice) as client:
        await client.send({"type": "ping", "id": id})
        error = await client.expect("error", status=42200, id=None)
        assert error["details"] == [{"field": "id", "message": "expected a string of 1 to 64 characters or an integer"}]
        await client.expect_nothing()


async def test_an_unknown_type_is_told_the_nearest_known_ones(app: App, alice: str) -> None:
    async with app.connect(alice) as client:
        error = await client.refused("chat.sent")
        assert (error["status"], error["name"]) == (40002, "unknown_type")
        assert "`chat.send`" in error["message"]


async def test_an_unknown_type_that_is_like_none_is_not_sent_back(app: App, alice: str) -> None:
    async with app.connect(alice) as client:
        error = await client.refused("<script>")
        assert error["message"] == "no handler for this type"


@pytest.mark.parametrize("type", sorted(HANDLERS.keys() - {"echo", "announce"}))  # anything goes; needs a scope
async def test_every_type_refuses_an_unknown_field(app: App, alice: str, type: str) -> None:
    async with app.connect(alice) as client:
        error = await client.refused(type, unknown_field=1)
        assert error["status"] == 42200
        assert "data.unknown_field" in [detail["field"] for detail in error["details"]]
        await client.expect_nothing()


@pytest.mark.parametrize("type", sorted(HANDLERS.keys() - {"echo", "announce"}))  # anything goes; needs a scope
async def test_every_type_refuses_data_that_is_no_object(app: App, alice: str, type: str) -> None:
    async with app.connect(alice) as client:
        await client.send({"type": type, "id": 1, "data": [1, 2]})
        error = await client.expect("error", status=42200, id=1)
        assert [detail["field"] for detail in error["details"]] == ["data"]


async def test_an_error_never_sends_the_input_back(app: App, alice: str) -> None:
    async with app.connect(alice) as client:
        error = await client.refused("chat.send", room="PASSWORD123", text=["PASSWORD123"], body="PASSWORD123")
        assert "PASSWORD123" not in str(error)
