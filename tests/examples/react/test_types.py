"""The types of the example for React, as its page makes them."""

import json
from pathlib import Path

from examples.assistant.ask import registry
from gateway.documents.catalog import catalog_of
from gateway.documents.place import Place
from gateway.documents.typescript import typescript
from handlers import BUILT_IN

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples/react"


def test_the_types_are_those_of_the_gateway_with_the_assistant() -> None:
    [(name, text)] = typescript(catalog_of(BUILT_IN | registry), Place()).items()
    again = "gateway export typescript --app examples.assistant.app:app -o examples/react/src"
    assert (EXAMPLE / "src" / name).read_text() == text, f"make it again: {again}"


def test_the_example_and_the_tests_use_the_same_react() -> None:
    tools = json.loads((ROOT / "tests/node/package.json").read_text())["devDependencies"]
    example = json.loads((EXAMPLE / "package.json").read_text())
    for name, version in (example["dependencies"] | example["devDependencies"]).items():
        assert tools.get(name, version) == version, name
