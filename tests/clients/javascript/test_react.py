"""The hooks for React: their size, their types, and a server that renders them. tests/browser has what they do."""

import gzip
import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.client import WAIT_SECONDS
from tests.support.node import TOOLS, environment, node, tool

pytestmark = pytest.mark.server

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
CLIENT = ROOT / "clients/javascript"
MOST_BYTES = 1500

STRICT = {
    "target": "ES2023",
    "lib": ["ES2023", "DOM", "DOM.Iterable"],
    "module": "ESNext",
    "moduleResolution": "bundler",
    "jsx": "react-jsx",
    "strict": True,
    "noImplicitReturns": True,
    "noEmit": True,
    "types": [],
    "allowJs": True,
    "checkJs": True,
    "paths": {
        "gateway-client": [str(CLIENT / "gateway-client.d.ts")],
        "gateway-client/*": [str(CLIENT / "*.d.ts")],
        "*": [str(TOOLS / "node_modules/@types/*"), str(TOOLS / "node_modules/*")],
    },
}
CHECKED = (
    HERE / "react_types.tsx",
    CLIENT / "react.js",
    CLIENT / "room-view.js",
    ROOT / "examples/vue/gateway.ts",
    ROOT / "examples/svelte/gateway.ts",
)


def run(*command: str | Path) -> str:
    """Run a command, and return what it has printed."""
    done = subprocess.run(
        command, env=environment(), capture_output=True, encoding="utf-8", timeout=WAIT_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_hooks_are_small() -> None:
    options = ("--bundle", "--minify", "--format=esm", "--external:react", "--external:gateway-client")
    minified = run(tool("esbuild"), CLIENT / "react.js", *options)
    assert 'from"react"' in minified
    assert len(gzip.compress(minified.encode())) <= MOST_BYTES


def test_typescript_accepts_what_is_right_and_refuses_what_is_wrong(tmp_path: Path) -> None:
    [documented] = re.findall(r"^```tsx\n(.*?)^```$", (ROOT / "docs/clients.md").read_text(), re.M | re.S)
    example = tmp_path / "documented.tsx"
    example.write_text(f"declare function getToken(): string;\n{documented}")
    project = tmp_path / "tsconfig.json"
    files = [str(path) for path in (*CHECKED, example)]
    project.write_text(json.dumps({"compilerOptions": STRICT, "files": files}))
    run(tool("tsc"), "-p", project)


def test_a_server_renders_the_hooks_without_a_window_and_without_a_socket() -> None:
    page, without_gateway = run(node(), TOOLS / "render_on_server.mjs", CLIENT, HERE / "server_page.jsx").splitlines()
    assert json.loads(page.removeprefix("<p>").removesuffix("</p>")) == {
        "state": "idle",
        "why": None,
        "user": None,
        "room": "idle",
        "messages": [],
        "isPending": False,
        "error": None,
    }
    assert without_gateway == "expected a gateway or a GatewayProvider"
