"""`gateway export`: documents for other tools, from the settings or an application. No file of the user is lost."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.documents.exports import FORMATS
from tests.gateway.cli.conftest import RunHere

REGISTRY = """
from typing import Any
from handlers.base import MsgHandler
from handlers.registry import Registry
from schemas.base import Wire

class Order(Wire):
    \"\"\"An order.\"\"\"
    item: str

class OrderHandler(MsgHandler[Order, Any]):
    \"\"\"Takes an order.\"\"\"
    schema = Order

    async def handle(self, data: Order) -> Any:
        return None

registry = Registry(handlers={"shop.order": OrderHandler})
"""

APP = """
from fastapi import FastAPI
from gateway.app import create_app
from gateway.embedding import attach
from handlers.registry import BUILT_IN
from own_registry import registry

gateway = create_app(registry=BUILT_IN | registry)
host = FastAPI()
attach(host, registry=BUILT_IN | registry)
other = 42
"""

ROUTES = """
[routes."stock.list"]
worker = true
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an application in it."""
    (tmp_path / "own_registry.py").write_text(REGISTRY)
    (tmp_path / "own_app.py").write_text(APP)
    (tmp_path / "routes.toml").write_text(ROUTES)
    return tmp_path


def paths(text: str) -> set[str]:
    """The paths of an OpenAPI document."""
    return set(json.loads(text)["paths"])


def test_it_prints_the_files_that_it_has_written(tmp_path: Path, run_here: RunHere) -> None:
    made = run_here(tmp_path, "export", "openapi", "-o", "out/api", "--url", "wss://example.com/rt/ws/chat")
    assert (made.status, made.out, made.err) == (0, "wrote out/api/openapi.json\n", "")
    document = json.loads((tmp_path / "out/api/openapi.json").read_text())
    assert document["servers"] == [{"url": "https://example.com/rt"}]
    assert "/call/chat.send" in document["paths"]
    assert not (tmp_path / "data").exists()  # no gateway has run


def test_a_dash_prints_a_single_file(tmp_path: Path, run_here: RunHere) -> None:
    printed = run_here(tmp_path, "export", "openapi", "-o", "-")
    assert json.loads(printed.out)["servers"] == [{"url": "http://127.0.0.1:8000"}]
    assert not (tmp_path / "openapi.json").exists()


def test_own_messages_of_the_current_folder_are_in_it(folder: Path, run_here: RunHere) -> None:
    settings = {"GATEWAY_REGISTRY": "own_registry:registry", "GATEWAY_ROUTES": str(folder / "routes.toml")}
    assert paths(run_here(folder, "export", "openapi", "-o", "-", **settings).out) >= {
        "/call/shop.order",
        "/call/stock.list",
    }
    for name in ("own_app:gateway", "own_app:host"):
        assert "/call/shop.order" in paths(run_here(folder, "export", "openapi", "-o", "-", "--app", name).out)
    assert "/call/shop.order" not in paths(run_here(folder, "export", "openapi", "-o", "-").out)


def test_a_wrong_application_is_named(folder: Path, run_here: RunHere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(folder))
    (folder / "broken.py").write_text("1 / 0")
    for name, part in {
        "own_app:other": "got int",
        "own_app:nothing": "Attribute",
        "missing_app:app": "Could not import module",
        "broken:app": "division by zero",
        "own_app": "must be in format",
    }.items():
        refused = run_here(folder, "export", "openapi", "--app", name)
        assert refused.problem.startswith("--app: ")
        assert part in refused.problem


def test_a_file_of_the_user_is_kept(tmp_path: Path, run_here: RunHere) -> None:
    file = tmp_path / "openapi.json"
    file.write_text("my own")
    assert run_here(tmp_path, "export", "openapi").problem.startswith("openapi.json is no file of an export; ")
    assert file.read_text() == "my own"
    assert not (tmp_path / ".gateway-export.json").exists()
    assert run_here(tmp_path, "export", "openapi", "--force").status == 0
    assert paths(file.read_text())


def test_a_second_export_replaces_the_first_unless_that_was_changed(tmp_path: Path, run_here: RunHere) -> None:
    file = tmp_path / "openapi.json"
    assert run_here(tmp_path, "export", "openapi").status == 0
    assert run_here(tmp_path, "export", "openapi", "--url", "https://example.com").status == 0
    file.write_text(changed := file.read_text().replace("example.com", "example.org"))
    assert run_here(tmp_path, "export", "openapi").problem.startswith("openapi.json was changed since; ")
    assert file.read_text() == changed


def test_a_clone_without_the_memory_of_exports_is_no_obstacle(tmp_path: Path, run_here: RunHere) -> None:
    assert run_here(tmp_path, "export", "http").status == 0
    (tmp_path / ".gateway-export.json").unlink()
    assert run_here(tmp_path, "export", "http").status == 0
    (tmp_path / ".gateway-export.json").write_text("no JSON")
    assert run_here(tmp_path, "export", "http").status == 0


def test_a_memory_that_names_other_places_removes_nothing_there(tmp_path: Path, run_here: RunHere) -> None:
    (tmp_path / "mine.txt").write_text("my own")
    (tmp_path / "out").mkdir()
    digest = sha256(b"my own").hexdigest()
    (tmp_path / "out/.gateway-export.json").write_text(json.dumps({"http": {"../mine.txt": digest}}))
    assert run_here(tmp_path, "export", "http", "-o", "out").status == 0
    assert (tmp_path / "mine.txt").read_text() == "my own"


def test_what_an_earlier_export_has_left_over_is_removed_and_nothing_else(
    folder: Path, run_here: RunHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(folder))
    own = {"GATEWAY_REGISTRY": "own_registry:registry"}
    assert run_here(folder, "export", "postman", **own).status == 0
    (left,) = folder.rglob("shop.order.message.yaml")
    mine = left.with_name("mine.message.yaml")
    mine.write_text("my own")
    assert run_here(folder, "export", "openapi").status == 0  # another format knows nothing of it
    assert left.exists()
    assert run_here(folder, "export", "postman").status == 0
    assert not left.exists()
    assert mine.read_text() == "my own"


def test_several_files_are_not_printed(tmp_path: Path, run_here: RunHere) -> None:
    refused = run_here(tmp_path, "export", "postman", "-o", "-")
    assert refused.problem.startswith("--output: postman has ")
    assert refused.problem.endswith(" files; name a folder for them")


def test_every_format_has_the_messages_of_an_application(
    folder: Path, run_here: RunHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(folder))
    own = {"GATEWAY_REGISTRY": "own_registry:registry"}
    for name in FORMATS:
        made = run_here(folder, "export", name, "-o", name, "--url", "https://example.com", **own)
        assert made.status == 0, made
        written = [folder / line.removeprefix("wrote ") for line in made.out.splitlines()]
        assert len(written) == len([each for each in (folder / name).rglob("*") if each.is_file()]) - 1
        text = "".join(each.read_text() for each in written)
        assert "shop.order" in text or "ShopOrder" in text, name
        assert "127.0.0.1:8000" not in text, name


def test_a_wrong_folder_is_named(tmp_path: Path, run_here: RunHere) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot write file/" in run_here(tmp_path, "export", "openapi", "-o", "file").problem
    (tmp_path / "out").mkdir()
    (tmp_path / "out/openapi.json").symlink_to(tmp_path / "elsewhere.json")
    assert "leads out of out" in run_here(tmp_path, "export", "openapi", "-o", "out").problem
    assert not (tmp_path / "elsewhere.json").exists()


def test_an_address_has_no_secret(tmp_path: Path, run_here: RunHere) -> None:
    for url in ("http://me:secret@example.com", "http://example.com/?token=secret", "example.com"):
        refused = run_here(tmp_path, "export", "openapi", "--url", url)
        assert refused.problem.startswith("URL: ")
        assert "secret" not in refused.problem


def test_the_help_lists_the_formats_and_a_misspelt_one_is_suggested(tmp_path: Path, run_here: RunHere) -> None:
    listed = run_here(tmp_path, "export", "--help").out
    for name in FORMATS:
        assert f"│ {name} " in listed
    assert "Did you mean 'openapi'" in run_here(tmp_path, "export", "openap").err
