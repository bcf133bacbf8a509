"""`gateway new handler` writes files that pass the checks and their own test, and changes nothing that is there."""

import shutil
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from gateway.testing import Gateway
from tests.gateway.cli.command import PYTEST, check, serving
from tests.gateway.cli.conftest import RunHere
from tests.support.client import App
from tests.support.mypy import OPTIONS, check_types

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[3]
RULES = ",".join(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]["select"])
STRICT = ("--ignore", "D203,D213", "--config", 'lint.per-file-ignores={"tests/*"=["D", "S"]}')
CHECKS = (
    ("ruff", "check", "--isolated", "--no-cache"),
    ("ruff", "check", "--isolated", "--no-cache", "--select", RULES, *STRICT),
    ("ruff", "format", "--isolated", "--no-cache", "--check"),
    ("ruff", "format", "--isolated", "--no-cache", "--check", "--line-length", "120"),
)
BEING_WRITTEN = shutil.ignore_patterns("*.pyc.*")
"""Another process may compile the same source: such a file is gone a moment later."""


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """Expect that no file is added or written."""

    def seen() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    before = seen()
    yield
    assert seen() == before


async def test_in_a_package_of_ones_own_all_files_pass_the_checks_and_the_gateway_serves_them(
    tmp_path: Path, run_here: RunHere
) -> None:
    first = run_here(tmp_path, "new", "handler", "poll.vote", "--package", "shop")
    assert "wrote tests/test_poll_vote.py" in first.out
    assert first.out.splitlines()[-1] == "to serve it: GATEWAY_REGISTRY=shop.registry:registry gateway serve"
    names = ("poll.close", "apple", "zoo.open_at_night")
    for name in names:
        assert run_here(tmp_path, "new", "handler", name).status == 0
    for tool, *options in CHECKS:
        check(tmp_path, "-m", tool, *options, ".")
    check_types(tmp_path, *OPTIONS, "shop", "tests")
    check(tmp_path, *PYTEST)
    with serving(tmp_path, forks=False, GATEWAY_REGISTRY="shop.registry:registry") as served:
        async with App(cast(Gateway, served)) as app, app.connect("alice") as client:
            for name in ("poll.vote", *names):
                assert await client.ask(name, text="Hello") == {"text": "Hello", "sender": "alice"}
                assert (await client.refused(name, text=""))["status"] == 42200


def test_a_package_in_src_is_found(tmp_path: Path, run_here: RunHere) -> None:
    package = tmp_path / "src" / "shop"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('"""Mine."""\n')
    assert "wrote src/shop/handlers/poll_vote.py" in run_here(tmp_path, "new", "handler", "poll.vote").out
    assert (package / "__init__.py").read_text() == '"""Mine."""\n'


def test_in_the_gateways_own_sources_all_files_pass_the_checks(tmp_path: Path, run_here: RunHere) -> None:
    for name in ("gateway", "handlers", "schemas", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=BEING_WRITTEN)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    done = run_here(tmp_path, "new", "handler", "poll.vote")
    assert done.out.splitlines()[-1] == "now add a row for `poll.vote` to section 6 of docs/protocol.md"
    written = [line.removeprefix("wrote ") for line in done.out.splitlines() if line.startswith("wrote ")]
    assert len(written) == 4
    check(tmp_path, "-m", "ruff", "check", "--no-cache", *written)
    check(tmp_path, "-m", "ruff", "format", "--no-cache", "--check", *written)
    check_types(tmp_path, "handlers/registry.py", "handlers/poll_vote.py")
    check(tmp_path, *PYTEST, "-p", "pytest_asyncio.plugin", "tests/handlers/test_poll_vote.py")


def test_what_is_there_is_kept_and_what_cannot_be_is_refused_in_one_line(tmp_path: Path, run_here: RunHere) -> None:
    run_here(tmp_path, "new", "handler", "poll.vote", "--package", "shop")
    (tmp_path / "shop" / "schemas" / "poll_open.py").touch()

    def refused(name: str, *options: str) -> str:
        return run_here(tmp_path, "new", "handler", name, *options).problem

    with unchanged(tmp_path):
        for name in (
            "Poll.vote",
            "poll-vote",
            "poll..vote",
            ".vote",
            "vote.",
            "9lives",
            "class",
            "msg",
            "é",
            "a/b",
            "",
            " ",
        ):
            assert refused(name).startswith("NAME: expected lower-case words"), name
        assert refused("x" * 65) == "NAME: expected at most 64 characters, got 65"
        assert refused("poll.open") == "shop/schemas/poll_open.py exists; choose another name, or remove the file"
        assert refused("chat.send") == "chat.send is taken; choose another name"
        for name in ("handlers", "schemas", "gateway", "tests"):
            assert "put your code into one package" in refused("poll.end", "--package", name)
        for name in ("my-shop", "../shop", "class", ""):
            assert refused("poll.end", "--package", name).startswith("--package: expected the name of a package")
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "__init__.py").touch()
        assert "got other, shop; name yours with --package" in refused("poll.end")
        (tmp_path / "other" / "__init__.py").unlink()


REGISTRIES = {
    "not Python": ("registry = (", "line 1: expected Python"),
    "no registry": ("registry = {}", "expected `Registry(handlers={…})` with one type a line; add by hand: "),
    "a table from elsewhere": ("registry = Registry(handlers=table)", 'add by hand: "poll.vote": PollVoteHandler'),
    "a table in one line": ('registry = Registry(handlers={"a": A})', 'add by hand: "poll.vote": PollVoteHandler'),
    "a taken type": ('registry = Registry(handlers={"poll.vote": A})', "poll.vote is taken; choose another name"),
}


@pytest.mark.parametrize(("source", "told"), REGISTRIES.values(), ids=REGISTRIES)
def test_a_registry_that_it_cannot_write_into_stays_as_it_is(
    source: str, told: str, tmp_path: Path, run_here: RunHere
) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "registry.py").write_text(source)
    with unchanged(tmp_path):
        assert told in run_here(tmp_path, "new", "handler", "poll.vote").problem


def test_a_line_of_a_registry_that_has_comments_and_more_is_added_and_nothing_else_changes(
    tmp_path: Path, run_here: RunHere
) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    source = """\
from handlers.registry import BUILT_IN, Registry

from shop.errors import SoldOut
from shop.handlers.zebra import ZebraHandler

registry = Registry(
    errors=(SoldOut,),
    handlers={
        "zebra": ZebraHandler,  # “the last one”
        # more to come
    },
)
"""
    (tmp_path / "shop" / "registry.py").write_text(source)
    assert run_here(tmp_path, "new", "handler", "poll.vote").status == 0
    added = (tmp_path / "shop" / "registry.py").read_text().splitlines()
    for line in source.splitlines():
        added.remove(line)
    assert added == [
        "from shop.handlers.poll_vote import PollVoteHandler",
        '        "poll.vote": PollVoteHandler,',
    ]
