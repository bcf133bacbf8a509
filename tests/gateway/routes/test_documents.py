"""docs/routes.md is true: its example works, and it has each key."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from shutil import which

import pytest
from pydantic_core import PydanticUndefined

from gateway.routes.file import read
from gateway.routes.surroundings import Surroundings
from gateway.routes.tables import AuthorizeTable, HookTable, RouteTable, Table
from gateway.upstream.authorize import RightsAnswer
from tests.gateway.cli.command import WAIT_SECONDS, environment

PAGE = (Path(__file__).parents[3] / "docs/routes.md").read_text()
SECTIONS = dict(re.findall(r"^## ([^\n]*)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def test_the_example_is_a_good_file(tmp_path: Path) -> None:
    [example] = re.findall(r"```toml\n(scopes.*?)```", PAGE, re.DOTALL)
    (tmp_path / "routes.toml").write_text(example)
    variables = {
        "ORDERS_SECRET": "whsec_" + "a" * 32,
        "PUSH_SECRET": "whsec_" + "b" * 32,
        "OLD_PUSH_SECRET": "whsec_" + "c" * 32,
    }
    routes = read(tmp_path / "routes.toml", Surroundings(production=True, variables=variables)).routes
    assert [route.pattern for route in routes.routes] == ["orders.*", "stock.list"]
    assert list(routes.hooks) == ["push"]
    assert routes.authorize is not None


@pytest.mark.server
@pytest.mark.skipif(which("openssl") is None, reason="needs openssl")
def test_its_commands_make_the_secrets_and_check_the_file(tmp_path: Path) -> None:
    [example] = re.findall(r"```toml\n(scopes.*?)```", PAGE, re.DOTALL)
    (tmp_path / "routes.toml").write_text(example)
    commands = re.findall(r"```sh\n(for .*?)```", PAGE, re.DOTALL)[0].splitlines()
    assert commands[1].startswith("gateway routes check")
    done = subprocess.run(
        ["/bin/sh", "-ec", "\n".join(commands[:2])],
        cwd=tmp_path,
        env=environment(tmp_path, PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}"),
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("2 routes, 1 hook, an [authorize]: no mistakes\n")


def test_the_question_and_the_answer_about_rights_are_real() -> None:
    question, answer = re.findall(r"```json\n(.*)\n```", SECTIONS["Rights in rooms"])
    assert json.loads(question).keys() == {"user", "action", "room", "claims"}
    assert RightsAnswer.model_validate_json(answer).model_dump() == json.loads(answer)


@pytest.mark.parametrize(
    ("section", "table"),
    [("Keys of a route", RouteTable), ("Keys of a hook", HookTable), ("Keys of `[authorize]`", AuthorizeTable)],
)
def test_each_key_is_in_its_table_with_its_default(section: str, table: type[Table]) -> None:
    rows = [row.split("|")[1:4] for row in SECTIONS[section].splitlines() if row.startswith("| `")]
    documented = {key: default.strip() for keys, default, _ in rows for key in re.findall(r"`(\w+)`", keys)}
    assert documented.keys() == table.model_fields.keys()
    for key, field in table.model_fields.items():
        if field.default in (None, PydanticUndefined) or key == "actions":
            assert documented[key] in {"", "all"}, key
            continue
        written = documented[key].strip("`")
        shown = list(field.default) if isinstance(field.default, tuple) else field.default
        assert written == str(shown).replace("'", '"').lower() or written == f'"{shown}"', key


@pytest.mark.parametrize("line", re.findall(r"^    routes\.toml: (.*)$", PAGE, re.MULTILINE))
def test_a_mistake_reads_as_the_page_shows_it(tmp_path: Path, line: str) -> None:
    path = tmp_path / "routes.toml"
    path.write_text('[routes."orders.*"]\nworker = true\ntimeout_seconds = 500\nparralel = 3\n')
    with pytest.raises(Exception, match=r"timeout") as caught:
        read(path, Surroundings())
    assert f"{path}: {line}" in str(caught.value).splitlines()
