"""`gateway conformance` says plainly what a driver, a story or an option has wrong."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli import app
from gateway.conformance.story import load_stories, stories_folder
from gateway.core.start_error import StartError

MODEST = """
import json, sys
for line in sys.stdin:
    command = json.loads(line)
    data = {"client": "modest", "capabilities": []}
    print(json.dumps({"type": "reply", "id": command["id"], "data": data}), flush=True)
"""
"""A driver of a client that can do nothing."""

CHATTY = "import sys\nfor line in sys.stdin:\n    print('here I am', flush=True)\n"
TWICE = MODEST + "    print(json.dumps({'type': 'reply', 'id': command['id'], 'data': data}), flush=True)\n"
VAGUE = MODEST.replace('"capabilities": []', '"can": "all"')


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["conformance", *words])


def driver(text: str) -> list[str]:
    return ["--", sys.executable, "-c", text]


def test_the_list_names_each_story_and_what_it_is_about() -> None:
    listed = run("--list").output.splitlines()
    assert len(listed) > 150
    assert all(line.partition(" ")[2].strip() for line in listed)
    assert run("--list", "--story", "calls/reply").output.split()[0] == "calls/reply"
    chosen = [line.split()[0] for line in run("--list", "--story", "calls/refused").output.splitlines()]
    assert chosen == ["calls/refused[unknown]", "calls/refused[invalid]", "calls/refused[missing]"]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "expected the command of a driver"),
        (["--story", "no/such"], "expected a name of --list, got no/such"),
        (["--", "/no/such/program"], "expected a program, got /no/such/program"),
    ],
)
def test_a_wrong_command_is_one_line(words: list[str], problem: str) -> None:
    error = run(*words).exception
    assert isinstance(error, StartError)
    assert problem in str(error)


@pytest.mark.server
def test_what_a_client_lacks_is_skipped() -> None:
    result = run("--story", "rooms/*", "--json", *driver(MODEST))
    verdicts = [json.loads(line) for line in result.output.splitlines()]
    assert result.exit_code == 0
    assert {verdict["result"] for verdict in verdicts} == {"skipped"}
    assert {verdict["got"] for verdict in verdicts} == {"no rooms"}


@pytest.mark.server
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (CHATTY, "expected a line with one JSON object that has a `type`, got 'here I am'"),
        ("raise SystemExit(3)", "the driver has ended with status 3"),
        (TWICE, "expected one answer for each command"),
        (VAGUE, "`hello`: expected `client` and `capabilities`"),
    ],
)
def test_a_driver_that_breaks_its_protocol_fails_with_the_reason(text: str, problem: str) -> None:
    result = run("--story", "calls/reply", *driver(text))
    assert result.exit_code == 1
    assert problem in result.output
    assert "1 stories: 0 passed, 1 failed, 0 skipped" in result.output


@pytest.mark.server
def test_a_client_that_does_nothing_fails_with_what_was_expected_and_what_came() -> None:
    result = run("--story", "calls/reply", "--patience", "0.1", "--trace", *driver(MODEST))
    assert result.exit_code == 1
    assert "failed   calls/reply at step 2" in result.output
    assert 'expected state {"state": "open"} within 0.5 s' in result.output
    assert "got      none" in result.output


@pytest.mark.parametrize(
    ("story", "problem"),
    [
        ('{"steps": [{"expects": "state"}]}', "got 'expects'"),
        ('{"steps": [{"expect": "weather"}]}', "Input should be 'connection'"),
        ('{"steps": [{"expect": "state", "in_ms": 5}]}', "Extra inputs are not permitted"),
        ('{"steps": [], "colour": "red"}', "colour"),
        ('{"about": "no steps"}', "steps: Field required"),
        ("[", "Invalid JSON"),
    ],
)
def test_a_wrong_story_is_named_with_its_file(tmp_path: Path, story: str, problem: str) -> None:
    file = tmp_path / "mine.json"
    full = story.replace("{", '{"name": "x", "about": "x", ', 1) if '"about"' not in story else story
    file.write_text(f'{{"rule": "x", "section": "x", "stories": [{full}]}}')
    with pytest.raises(StartError) as error:
        load_stories(tmp_path)
    assert str(error.value).startswith(str(file))
    assert problem in str(error.value)


def test_each_story_names_a_section_of_the_protocol() -> None:
    page = (Path(__file__).parents[3] / "docs/protocol.md").read_text()
    sections = {line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")}
    stories = load_stories(stories_folder())
    assert [story.name for story in stories if story.section not in sections] == []
    assert len({story.name for story in stories}) == len(stories)
