"""Routes change while the gateway runs, and a wrong file changes nothing."""

import asyncio
import logging
import os
from pathlib import Path

import pytest

from gateway.app import create_app
from gateway.config.settings import Settings
from gateway.core.start_error import StartError
from gateway.routes import reloader
from gateway.routes.model import Routes
from gateway.routes.reloader import RoutesReloader
from gateway.testing import StartGateway, settings_for_tests
from handlers.registry import BUILT_IN, Registry
from handlers.system import PingHandler
from tests.support.client import App
from tests.support.metrics import metrics_of
from tests.support.waiting import until

ORDERS = '[routes."orders.*"]\nworker = true\n'
STOCK = '[routes."stock.*"]\nworker = true\n'
WRONG = '[routes."chat.*"]\nworker = true\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "routes.toml"
    path.write_text(ORDERS)
    return path


@pytest.fixture
def settings(tmp_path: Path, path: Path) -> Settings:
    return settings_for_tests(tmp_path, routes=path)


def replace(path: Path, text: str) -> None:
    """Replace a file as editors and deployments do: another file takes its name."""
    draft = path.with_suffix(".new")
    draft.write_text(text)
    os.replace(draft, path)


def write(path: Path, text: str) -> None:
    """Write a file in place."""
    path.write_text(text)


def move_away(path: Path) -> None:
    path.rename(path.with_suffix(".old"))


def remove(path: Path) -> None:
    path.unlink()


def link(path: Path, folder: str) -> None:
    """Let a symbolic link lead to another folder at once."""
    draft = path.with_suffix(".new")
    draft.symlink_to(folder)
    os.replace(draft, path)


def patterns(routes: RoutesReloader) -> list[str]:
    return [route.pattern for route in routes.current.routes]


async def look_twice(routes: RoutesReloader) -> None:
    await routes.reload_if_changed()
    await routes.reload_if_changed()


def test_without_the_setting_there_are_no_routes(tmp_path: Path) -> None:
    routes = RoutesReloader(settings_for_tests(tmp_path), BUILT_IN)
    assert routes.current == Routes()


def test_a_wrong_file_stops_the_start(settings: Settings, path: Path) -> None:
    path.write_text(WRONG)
    with pytest.raises(StartError, match=r'routes\."chat\.\*": expected types that the gateway does not have itself'):
        RoutesReloader(settings, BUILT_IN)


def test_an_application_with_a_wrong_file_cannot_be_made(settings: Settings, path: Path) -> None:
    path.write_text('[routes."roll.*"]\nworker = true\n[routes."ping"]\nworker = true\n')
    with pytest.raises(StartError, match=r"routes\.ping: expected types"):
        create_app(settings)
    own = Registry(handlers={"roll.dice": PingHandler})
    with pytest.raises(StartError, match=r'routes\."roll\.\*": expected types') as refused:
        create_app(settings, registry=BUILT_IN | own)
    assert len(str(refused.value).splitlines()) == 2


async def test_a_changed_file_counts_once_it_is_left_alone(settings: Settings, path: Path) -> None:
    routes = RoutesReloader(settings, BUILT_IN)
    heard: list[Routes] = []
    routes.on_change(heard.append)
    await look_twice(routes)
    assert patterns(routes) == ["orders.*"]
    assert (heard, routes.outcomes) == ([], {})

    replace(path, STOCK)
    await routes.reload_if_changed()
    assert patterns(routes) == ["orders.*"]
    await routes.reload_if_changed()
    assert patterns(routes) == ["stock.*"]
    assert heard == [routes.current]
    await look_twice(routes)
    assert len(heard) == 1
    assert routes.outcomes == {"ok": 1}


async def test_a_file_that_is_being_written_waits(settings: Settings, path: Path) -> None:
    routes = RoutesReloader(settings, BUILT_IN)
    # All of these would be whole files, which have lost or gained routes.
    for text in ("scopes = []\n", "scopes = []\n" + ORDERS, "scopes = []\n" + ORDERS + STOCK):
        write(path, text)
        await routes.reload_if_changed()
        assert patterns(routes) == ["orders.*"]
    await routes.reload_if_changed()
    assert patterns(routes) == ["orders.*", "stock.*"]
    assert routes.outcomes == {"ok": 1}


async def test_a_file_that_is_away_for_a_moment_changes_nothing(
    settings: Settings, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    routes = RoutesReloader(settings, BUILT_IN)
    move_away(path)
    await routes.reload_if_changed()
    write(path, STOCK)
    await look_twice(routes)
    assert patterns(routes) == ["stock.*"]
    assert "stay as they were" not in caplog.text


@pytest.mark.parametrize("content", [WRONG, "", "half a fi", ORDERS + "x", None])
async def test_a_wrong_file_leaves_the_routes_and_says_so_once(
    settings: Settings, path: Path, caplog: pytest.LogCaptureFixture, content: str | None
) -> None:
    caplog.set_level(logging.INFO)
    routes = RoutesReloader(settings, BUILT_IN)
    before = routes.current
    if content is None:
        remove(path)
    else:
        write(path, content)
    for _ in range(3):
        await look_twice(routes)
    assert routes.current is before
    assert routes.outcomes == {"refused": 1}
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "the routes stay as they were: " in caplog.text

    replace(path, STOCK)
    await look_twice(routes)
    assert patterns(routes) == ["stock.*"]
    assert routes.outcomes == {"refused": 1, "ok": 1}


async def test_each_mistake_is_a_line_of_the_log(
    settings: Settings, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    routes = RoutesReloader(settings, BUILT_IN)
    write(path, ORDERS + "parallel = 0\nrate = -1\n")
    await routes.reload()
    assert [record.getMessage().partition("routes.toml: ")[2].partition(":")[0] for record in caplog.records] == [
        'routes."orders.*".parallel',
        'routes."orders.*".rate',
    ]


async def test_a_change_of_a_schema_counts_also_after_it_was_wrong(settings: Settings, path: Path) -> None:
    schema = path.parent / "order.json"
    write(schema, '{"type": "object"}')
    write(path, ORDERS + 'data_file = "order.json"\n')
    routes = RoutesReloader(settings, BUILT_IN)

    def accepts(value: object) -> bool:
        data = routes.current.routes[0].data
        assert data is not None
        return data.fits(value)

    replace(schema, '{"type": "array"}')
    await look_twice(routes)
    assert (accepts({}), accepts([])) == (False, True)
    replace(schema, '{"type": "nothing"}')
    await look_twice(routes)
    assert (accepts({}), accepts([])) == (False, True)
    replace(schema, '{"type": "string"}')
    await look_twice(routes)
    assert accepts("")
    assert routes.outcomes == {"ok": 2, "refused": 1}


async def test_a_new_schema_that_is_wrong_can_be_corrected_alone(settings: Settings, path: Path) -> None:
    routes = RoutesReloader(settings, BUILT_IN)
    schema = path.parent / "order.json"
    write(schema, "{")
    replace(path, ORDERS + 'data_file = "order.json"\n')
    await look_twice(routes)
    assert routes.outcomes == {"refused": 1}
    replace(schema, "{}")
    await look_twice(routes)
    assert routes.outcomes == {"ok": 1, "refused": 1}
    assert routes.current.routes[0].data is not None


async def test_a_file_behind_a_link_is_followed_as_kubernetes_changes_it(tmp_path: Path) -> None:
    for name, text in (("one", ORDERS), ("two", STOCK)):
        os.mkdir(tmp_path / name)
        write(tmp_path / name / "routes.toml", text)
    current = tmp_path / "current"
    link(current, "one")
    routes = RoutesReloader(settings_for_tests(tmp_path, routes=current / "routes.toml"), BUILT_IN)
    link(current, "two")
    await look_twice(routes)
    assert patterns(routes) == ["stock.*"]


async def test_a_reading_on_request_takes_the_file_at_once(
    settings: Settings, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    routes = RoutesReloader(settings, BUILT_IN)
    heard: list[Routes] = []
    routes.on_change(heard.append)
    await routes.reload()
    assert heard == []
    assert "read the routes again: nothing has changed" in caplog.text
    write(path, STOCK)
    await asyncio.gather(*(routes.reload() for _ in range(5)))
    assert patterns(routes) == ["stock.*"]
    assert len(heard) == 1
    assert "read the routes again: 1 routes, 0 hooks, without [authorize]" in caplog.text


async def test_a_rotated_secret_of_the_environment_counts_on_request(
    tmp_path: Path, path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    dotenv = tmp_path / ".env"
    first, second = "whsec_" + "a" * 32, "whsec_" + "b" * 32
    write(dotenv, f"ORDERS_SECRET={first}\n")
    write(path, '[routes."orders.*"]\nurl = "http://127.0.0.1:1/"\nsecret = "env:ORDERS_SECRET"\n')
    routes = RoutesReloader(settings, BUILT_IN)
    before = routes.current.routes[0].signer
    write(dotenv, f"ORDERS_SECRET={second}\n")
    await routes.reload()
    assert routes.current.routes[0].signer != before


async def test_a_wrong_file_of_the_environment_leaves_the_routes(
    tmp_path: Path, path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    routes = RoutesReloader(settings, BUILT_IN)
    write(tmp_path / ".env", "ORDERS_SECRET=hunter2\nhalf a line\n")
    write(path, STOCK)
    await routes.reload()
    assert patterns(routes) == ["orders.*"]
    assert [record.getMessage() for record in caplog.records] == [
        "the routes stay as they were: .env, line 2: expected NAME=value, or a comment after #"
    ]
    write(tmp_path / ".env", "")
    await routes.reload()
    assert patterns(routes) == ["stock.*"]


async def test_one_failing_listener_does_not_keep_the_change_from_the_others(settings: Settings, path: Path) -> None:
    routes = RoutesReloader(settings, BUILT_IN)
    heard: list[Routes] = []

    def fail(_: Routes) -> None:
        raise RuntimeError("broken")

    routes.on_change(fail)
    routes.on_change(heard.append)
    write(path, STOCK)
    await routes.reload()
    assert heard == [routes.current]


async def test_a_later_file_must_not_lead_back_to_where_the_gateway_listens(settings: Settings, path: Path) -> None:
    routes = RoutesReloader(settings, BUILT_IN)
    routes.serves_at(("127.0.0.1", 8000))
    write(path, f'[routes."orders.*"]\nurl = "http://localhost:8000/x"\nsecret = "whsec_{"a" * 32}"\n')
    await routes.reload()
    assert routes.outcomes == {"refused": 1}
    assert patterns(routes) == ["orders.*"]
    assert routes.current.routes[0].is_for_workers


async def test_a_running_gateway_follows_the_file_and_counts_it(
    start_gateway: StartGateway, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reloader, "REREAD_SECONDS", 0.05)
    monkeypatch.setattr(reloader, "SETTLE_SECONDS", 0.05)
    gateway = start_gateway(routes=path)
    async with App(gateway) as app:
        assert (await metrics_of(app))["gateway_routes"] == 1
        replace(path, ORDERS + STOCK)
        await until(lambda: len(gateway.state.routes.current.routes) == 2)
        replace(path, WRONG)
        await until(lambda: gateway.state.routes.outcomes["refused"] == 1)
        counted = await metrics_of(app)
    assert counted["gateway_routes"] == 2
    assert counted['gateway_routes_reloads_total{result="ok"}'] == 1
    assert counted['gateway_routes_reloads_total{result="refused"}'] == 1
