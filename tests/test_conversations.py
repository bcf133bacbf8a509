"""Whole stories of two users with two phones."""

from tests.support.client import App


async def test_two_users_talk_in_a_room(app: App, alice: str, bob: str, room: str) -> None:
    async with app.in_room(alice, room) as ann, app.in_room(bob, room) as ben:
        await ann.expect("room.joined", room=room, user=bob)

        sent = await ann.ask("chat.send", room=room, text="Hello, Bob!")
        assert sent["message"]["offset"] == 1
        assert await ann.expect("chat.message") == sent["message"]
        assert await ben.expect("chat.message") == sent["message"]

        answer = await ben.ask("chat.send", room=room, text="Hello, Alice!")
        assert answer["message"]["offset"] == 2
        await ben.expect("chat.message", text="Hello, Alice!", sender=bob)
        await ann.expect("chat.message", text="Hello, Alice!", sender=bob)

        await ann.expect_nothing()
        await ben.expect_nothing()


async def test_one_pulls_the_plug_and_the_other_goes_on(app: App, alice: str, bob: str, room: str) -> None:
    async with app.in_room(alice, room) as ann:
        async with app.in_room(bob, room) as ben:
            await ann.expect("room.joined", user=bob)
            ben.ws.transport.abort()
        await ann.ask("chat.send", room=room, text="Are you there?")
        await ann.expect("chat.message")

        # The membership outlives the connection: a client that returns finds the messages of the meantime.
        async with app.connect(bob) as ben:
            reply = await ben.ask("room.join", room=room)
            assert [message["text"] for message in reply["messages"]] == ["Are you there?"]
        await ann.expect_nothing()
