"""What `GATEWAY_REGISTRY` and the entry points of installed packages add, and how a slip in them stops the start."""

import sys
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, cast

import pytest

from gateway.app import create_app
from gateway.core.start_error import StartError
from gateway.testing import Gateway, running_gateway, settings_for_tests
from handlers.registry import BUILT_IN
from tests.gateway.cli.command import Result, python, run, serving
from tests.gateway.cli.conftest import RunHere
from tests.support.child import free_port
from tests.support.client import App
from tests.support.plugin import REGISTRY, install_plugin, write_module, write_plugin
from tests.support.valkey import running_valkey

pytestmark = pytest.mark.server

NAMED = "shop.registry:registry"


async def vote(gateway: object) -> None:
    """Send a message of the plugin's, and expect its reply."""
    async with App(cast(Gateway, gateway)) as app, app.connect("alice") as client:
        assert await client.ask("poll.vote", choice=2) == {"choice": 2}


def refused(folder: Path, **changes: str) -> str:
    """Return the one line with which `create_app` refuses to be made."""
    with pytest.raises(StartError) as error:
        create_app(settings_for_tests(folder, **changes))
    line = str(error.value)
    assert "\n" not in line
    return line


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of modules that only this test imports."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


async def test_the_setting_adds_to_the_registry(folder: Path) -> None:
    write_module(folder, "shop")
    with running_gateway(settings_for_tests(folder, registry=NAMED)) as gateway:
        await vote(gateway)


def test_the_same_registry_may_be_named_and_passed(folder: Path) -> None:
    write_module(folder, "shop")
    mine = resolve_name(NAMED)
    create_app(settings_for_tests(folder, registry=NAMED), registry=BUILT_IN | mine)


SLIPS = {
    "no module": (None, "cannot import shop.registry:registry: ModuleNotFoundError: No module named 'shop'"),
    "no name": ("", "cannot import shop.registry:registry: AttributeError: "),
    "no registry": ("registry = {}", "expected shop.registry:registry to be a Registry, got dict"),
    "bad syntax": ("registry = (", "cannot import shop.registry:registry: SyntaxError: "),
    "a fault": ("\n\n1 / 0", "ZeroDivisionError: division by zero ({}/shop/registry.py, line 3)"),
    "its own import": ("import no_such_thing", "No module named 'no_such_thing' ({}/shop/registry.py, line 1)"),
    "an exit": ("raise SystemExit('two\\nlines')", "SystemExit: two lines ("),
    "a clash": (
        REGISTRY.replace("poll.vote", "ping"),
        "the message type 'ping' is taken twice: by handlers.system.PingHandler and by shop.registry.VoteHandler",
    ),
    "a bad status": (
        "from handlers import AppError\nclass Mine(AppError): status = 50000",
        "shop.registry.Mine.status: expected 60000 to 69999, got 50000",
    ),
}


@pytest.mark.parametrize(("source", "told"), SLIPS.values(), ids=SLIPS)
def test_a_slip_in_what_the_setting_names_is_one_line(folder: Path, source: str | None, told: str) -> None:
    if source is not None:
        write_module(folder, "shop", source)
    line = refused(folder, registry=NAMED)
    assert line.startswith("GATEWAY_REGISTRY: ")
    assert told.format(folder) in line


async def test_entry_points_of_installed_packages_add_and_a_clash_names_both(
    folder: Path, run_here: RunHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = install_plugin(folder, "shop")
    with serving(folder, PYTHONPATH=str(site)) as served:
        await vote(served)
    monkeypatch.syspath_prepend(write_plugin(folder, "bazaar"))
    assert run_here(folder, "serve", "--port", "0").problem == (
        "entry point shop of shop-plugin: the message type 'poll.vote' is taken twice: by bazaar.registry.VoteHandler"
        " and by shop.registry.VoteHandler; change one of them"
    )


def test_an_entry_point_that_does_not_import_stops_every_server_with_one_line(
    folder: Path, run_here: RunHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = write_plugin(folder, "shop", module="registri")
    told = "entry point shop of shop-plugin: cannot import shop.registri:registry: ModuleNotFoundError: "
    assert uvicorn(folder, "gateway.asgi:app", PYTHONPATH=str(site)).problem.startswith(told)
    monkeypatch.syspath_prepend(site)
    assert run_here(folder, "serve", "--port", "0").problem.startswith(told)


async def test_workers_have_what_the_setting_adds(folder: Path, run_here: RunHere) -> None:
    write_module(folder, "shop")
    with running_valkey() as valkey:
        options: dict[str, Any] = {"GATEWAY_BUS_URL": valkey.url, "GATEWAY_REGISTRY": NAMED}
        with serving(folder, "--workers", "2", **options) as served:
            await vote(served)
        options["GATEWAY_REGISTRY"] = "shop.registry:registri"
        problem = run_here(folder, "serve", "--port", "0", "--workers", "2", **options).problem
        assert problem.startswith("GATEWAY_REGISTRY: cannot import shop.registry:registri: AttributeError: ")


def test_an_application_of_ones_own_with_a_slip_stops_the_start_and_every_worker_with_one_line(
    tmp_path: Path, run_here: RunHere
) -> None:
    (tmp_path / "shop.py").write_text(
        "from gateway.app import create_app\nfrom handlers import *\n"
        "class Mine(AppError):\n    pass\napp = create_app(registry=BUILT_IN | Registry(errors=(Mine,)))\n"
    )
    told = "gateway: shop.Mine.status: expected one of 60000 to 69999, got none"
    alone = run_here(tmp_path, "serve", "--port", "0", "--app", "shop:app")
    with running_valkey() as valkey:
        options = ("--port", "0", "--app", "shop:app", "--workers", "2")
        several = run(tmp_path, "serve", *options, GATEWAY_BUS_URL=valkey.url)
    assert (alone.status, several.status) == (1, 1)
    assert alone.err.splitlines()[-1] == told
    assert told in several.err.splitlines()
    assert several.err.splitlines()[-1] == "gateway: a worker did not start; the lines above say why"
    assert "Traceback" not in alone.err + several.err


def uvicorn(folder: Path, app: str, **variables: str) -> Result:
    """Run uvicorn to its end."""
    return python(folder, "-m", "uvicorn", app, "--port", str(free_port()), **variables)
