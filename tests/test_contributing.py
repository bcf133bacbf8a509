"""CONTRIBUTING.md and the forge's files are true."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[1]
TOOLS = ".venv/bin/"
WAIT_SECONDS = 60


def commands() -> list[str]:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return [line for block in re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S) for line in block.splitlines()]


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, timeout=WAIT_SECONDS, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def of_pytest() -> list[list[str]]:
    """Return the arguments of each run of pytest."""
    return [line.split()[1:] for line in commands() if line.startswith(f"{TOOLS}pytest ")]


def dry(command: str) -> list[str]:
    """What to run instead of a command, to learn whether it would work."""
    program, *arguments = command.split()
    if program == "make":
        return ["make", "--dry-run", *arguments]
    assert program.startswith(TOOLS), f"expected a target of make or a tool in .venv/bin, got {command}"
    return [str(Path(sys.executable).with_name(program.removeprefix(TOOLS))), *arguments, "--help"]


def test_there_are_commands_to_follow() -> None:
    assert {"make check", "make test", "make lock"} <= set(commands())
    assert of_pytest()


@pytest.mark.parametrize("command", [line for line in commands() if line.split()[1:] not in of_pytest()])
def test_every_command_of_the_guide_can_be_run(command: str) -> None:
    assert run(*dry(command))


def test_every_run_of_pytest_finds_tests() -> None:
    # In one process, which imports the gateway once.
    each = "sys.exit(max(pytest.main([*arguments, '--collect-only', '-q']) for arguments in json.loads(sys.argv[1])))"
    assert run(sys.executable, "-c", f"import json, pytest, sys; {each}", json.dumps(of_pytest()))


def test_hooks_before_a_commit_are_the_checks_of_make() -> None:
    hooks = re.findall(r"^ +entry: (.+)$", (ROOT / ".pre-commit-config.yaml").read_text(), re.M)
    assert hooks == [line for line in run("make", "--dry-run", "check").splitlines() if line.startswith(".venv/bin/")]


def test_ci_runs_its_script_on_each_python_that_is_supported() -> None:
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    named = re.search(r"python: \[(.*)\]", workflow)
    assert named is not None
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    supported = [found[1] for line in classifiers if (found := re.fullmatch(r".*:: Python :: (3\.\d+)", line))]
    assert re.findall(r"[\d.]+", named[1]) == supported
    assert "run: bash .ci/run" in workflow
