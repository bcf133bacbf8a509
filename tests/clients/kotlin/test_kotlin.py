"""The Kotlin example is compiled, talks over a connection that is dropped, and passes the stories that it can play."""

import asyncio
import shutil
import subprocess
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.conformance.story import Story, load_stories, stories_folder
from tests.support.client import PASSWORD, App
from tests.support.lacking import program
from tests.support.proxy import Proxy
from tests.support.stories import ROOT, judge

EXAMPLE = ROOT / "clients/kotlin"
BUILD_SECONDS = 300
"""A machine that compiles it for the first time downloads the compiler."""
WAIT_SECONDS = 30

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def kotlin(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that runs a class of the example, compiled in a copy."""
    java, maven = program("java", "default-jdk-headless"), program("mvn", "maven")
    program("javac", "default-jdk-headless")
    folder = shutil.copytree(EXAMPLE, tmp_path_factory.mktemp("kotlin") / "example")
    last = ""
    for options in (["--offline"], []):
        built = subprocess.run(
            # Without a compiler that stays behind for the next time.
            [maven, "--quiet", "--batch-mode", "-Dkotlin.compiler.daemon=false", *options, "compile"],
            cwd=folder,
            timeout=BUILD_SECONDS,
            capture_output=True,
            text=True,
            check=False,
        )
        last = built.stdout + built.stderr
        if built.returncode == 0:
            break
    assert built.returncode == 0, last
    classes = f"{folder}/target/classes:{folder}/target/dependency/*"
    return [java, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", classes]


async def test_it_logs_in_joins_sends_and_loses_nothing_when_the_connection_is_dropped(
    app: App, alice: str, bob: str, room: str, kotlin: list[str]
) -> None:
    await app.register(alice)
    token = await app.token(bob)
    await app.ask("POST", "/call/room.join", token, json={"room": room})
    async with asyncio.timeout(WAIT_SECONDS), Proxy(app.gateway.port) as proxy:
        command = [*kotlin, "ExampleKt", f"http://127.0.0.1:{proxy.port}", alice, PASSWORD, room]
        async with _started(command) as (commands, lines):
            assert await anext(lines) == "joined at 0"
            for number in range(1, 5):
                commands.write(f"{number} of mine\n".encode())
                proxy.drop()
                assert await anext(lines) == f"{alice}: {number} of mine"
                proxy.drop()
                await app.ask("POST", "/call/chat.send", token, json={"room": room, "text": f"{number} of yours"})
                assert await anext(lines) == f"{bob}: {number} of yours"
            commands.close()
            assert [line async for line in lines] == []


@asynccontextmanager
async def _started(command: Sequence[str]) -> AsyncIterator[tuple[asyncio.StreamWriter, AsyncIterator[str]]]:
    """Run a program: its input, and the lines of its output."""
    started = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    assert started.stdin is not None
    assert started.stdout is not None
    try:
        yield started.stdin, _lines(started.stdout)
        assert await started.wait() == 0
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()


async def _lines(output: asyncio.StreamReader) -> AsyncIterator[str]:
    async for line in output:
        yield line.decode().rstrip()


async def test_it_passes_the_stories_of_rooms_messages_tokens_and_closes(kotlin: list[str]) -> None:
    # It passes all others as well. A few machines of Java are enough for a test.
    topics = ("closes", "rooms", "sending", "silence", "tokens")
    stories = [story for story in load_stories(stories_folder()) if story.name.startswith(topics) and _is_one(story)]
    found = await judge([*kotlin, "DriverKt"], stories, jobs=3)
    skipped = [verdict.story for verdict in found.values() if verdict.result == "skipped"]
    assert skipped == ["sending/stream"]
    assert [verdict for verdict in found.values() if verdict.result == "failed"] == []


def _is_one(story: Story) -> bool:
    """Return whether this is the story itself, or the first of its cases that this test takes."""
    return "[" not in story.name or story.name.endswith(("[4403]", "[4410]", "[clock 2 h behind]", "[drop]", "[old]"))


def test_it_is_short_enough_to_read() -> None:
    lines = [line.strip() for line in Path(EXAMPLE / "Gateway.kt").read_text().splitlines()]
    assert len([line for line in lines if line and not line.startswith("//")]) <= 160
