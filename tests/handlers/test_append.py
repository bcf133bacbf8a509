"""Messages that grow, piece by piece."""

import pytest

from tests.support.client import App


@pytest.mark.both_stores
async def test_a_piece_goes_to_the_room_and_the_message_is_longer(app: App, alice: str, bob: str, room: str) -> None:
    async with app.in_room(alice, room) as author, app.in_room(bob, room) as reader:
        await author.heard()
        message = await author.say(room, "Hello", client_id="a1")
        await reader.expect("chat.message")
        place = {"offset": message["offset"], "changed": message["offset"] + 1}
        reply = await author.ask("chat.append", room=room, message_id=message["id"], text=" wörld😀", at=5)
        assert reply == {"message_id": message["id"], "changed": place["changed"], "length": 12, "done": False}
        piece = {"id": message["id"], "room": room, "epoch": message["epoch"], **place, "at": 5, "text": " wörld😀"}
        assert await author.expect("chat.appended") == piece
        assert await reader.expect("chat.appended") == piece
        whole = message | {"text": "Hello wörld😀", "changed": place["changed"]}
        assert (await author.ask("chat.history", room=room))["messages"] == [whole]
        del whole["client_id"]
        assert (await reader.ask("room.join", room=room))["messages"] == [whole]
