"""The routes file changes while the gateway runs: hooks come, change their address, and go."""

from pathlib import Path

import pytest

from gateway.testing import Gateway
from tests.conftest import OwnGateway
from tests.gateway.webhooks.conftest import figures_of, is_empty
from tests.support.client import App
from tests.support.metrics import metrics_of
from tests.support.receivers import Receiver, running_receiver
from tests.support.waiting import until

HOOK = """
[hooks.{name}]
url = "{url}"
secret = "{secret}"
types = ["message.stored"]
"""


def write(path: Path, **receivers: Receiver) -> None:
    path.write_text(
        "".join(HOOK.format(name=name, url=each.url, secret=each.secret) for name, each in receivers.items())
    )


async def reload(gateway: Gateway) -> None:
    await gateway.run(gateway.state.routes.reload())


async def test_hooks_are_added_changed_and_removed_without_a_restart(
    own_gateway: OwnGateway, receiver: Receiver, tmp_path: Path
) -> None:
    path = tmp_path / "routes.toml"
    write(path, push=receiver)
    gateway = own_gateway(routes=path)
    async with (
        running_receiver() as moved,
        running_receiver() as added,
        App(gateway) as app,
        app.in_room("alice", "lobby") as alice,
    ):
        await alice.say("lobby", "one")
        await receiver.expect(1)
        await until(lambda: is_empty(gateway))
        write(path, push=moved, more=added)
        await reload(gateway)
        await alice.say("lobby", "two")
        for each in (moved, added):
            [event] = await each.expect(1)
            assert (event.data["message"]["text"], event.verified) == ("two", True)
        await until(lambda: is_empty(gateway, "more"))
        write(path, push=moved)
        await reload(gateway)
        await alice.say("lobby", "three")
        await moved.expect(2)
        assert (await figures_of(gateway, "more")).waiting == 0
        assert not any('hook="more"' in name for name in await metrics_of(app))
    assert (len(receiver.got), len(added.got)) == (1, 1)


async def test_a_wrong_new_file_changes_nothing_for_hooks(
    own_gateway: OwnGateway, receiver: Receiver, tmp_path: Path
) -> None:
    path = tmp_path / "routes.toml"
    write(path, push=receiver)
    gateway = own_gateway(routes=path)
    path.write_text(path.read_text().replace("message.stored", "message.lost"))
    await reload(gateway)
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        await alice.say("lobby", "hello")
        await receiver.expect(1)


@pytest.mark.parametrize("kind", ["webhook", "cloudevents"])
async def test_no_secret_shows_in_the_log_or_the_metrics(
    own_gateway: OwnGateway, receiver: Receiver, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    caplog.set_level("DEBUG")
    path = tmp_path / "routes.toml"
    write(path, push=receiver)
    path.write_text(path.read_text() + f'format = "{kind}"\n')
    receiver.answer = lambda _: 500
    gateway = own_gateway(routes=path)
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        await alice.say("lobby", "hello")
        await until(lambda: receiver.got)
        await until(lambda: "a delivery failed" in caplog.text)
        shown = (
            (await app.http.get("/metrics")).text + repr(gateway.state.webhooks) + repr(gateway.state.routes.current)
        )
    assert receiver.secret not in caplog.text + shown
    assert "of the receiver" not in caplog.text  # what it answers is its own
