"""The k6 script: k6's own types accept it, and every message is in it."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from gateway.documents.catalog import catalog_of
from gateway.documents.k6 import NAME, k6
from gateway.documents.place import Place
from handlers.registry import BUILT_IN, Registry
from handlers.system import PingHandler
from tests.gateway.documents.odd_messages import ODD_TYPES, odd_catalog, text_of
from tests.support.node import TOOLS, environment, tool

WAIT_SECONDS = 100

OPTIONS = {
    "allowJs": True,
    "checkJs": True,
    "noEmit": True,
    "strict": True,
    "noUnusedLocals": True,
    "target": "es2022",
    "lib": ["es2022"],
    "module": "nodenext",
    "moduleResolution": "nodenext",
    "types": ["k6"],
    "skipLibCheck": True,
}
CONSOLE = "declare const console: { warn(text: string): void; error(text: string): void };\n"
"""k6 has a console, and its types have none."""


def test_every_message_is_in_it() -> None:
    script = k6(odd_catalog(), Place())[NAME]
    found = re.search(r"\(/\*\* @type \{\[string, any\[\]\]\[\]\} \*/ \((.*?)\n\]\)\);", script, re.DOTALL)
    assert found is not None
    messages = dict(json.loads(found[1] + "\n]"))
    assert set(messages) == {message.type for message in odd_catalog().messages} - {"auth", "auth.refresh"}
    assert [messages[each] for each in ODD_TYPES] == [[{"text": text_of(each)}] for each in ODD_TYPES]


def test_it_sends_what_the_gateway_has() -> None:
    assert '__ENV.MESSAGE || "chat.send"' in k6(catalog_of(BUILT_IN), Place())[NAME]
    assert '__ENV.MESSAGE || "ping"' in k6(catalog_of(Registry(handlers={"ping": PingHandler})), Place())[NAME]
    assert (
        '__ENV.WS_URL || "wss://example.com/rt"'
        in (k6(catalog_of(BUILT_IN), Place("https://example.com/rt", "wss://example.com/rt"))[NAME])
    )


@pytest.mark.server
def test_the_types_of_k6_accept_it_and_see_a_slip(tmp_path: Path) -> None:
    script = k6(odd_catalog(), Place())[NAME]
    assert script.count("new Trend(") == 1
    (tmp_path / "right.js").write_text(script)
    (tmp_path / "wrong.js").write_text(script.replace("new Trend(", "new Trent(").replace("ws.close(1000)", "ws.end()"))
    (tmp_path / "console.d.ts").write_text(CONSOLE)
    (tmp_path / "node_modules").symlink_to(TOOLS / "node_modules")
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": OPTIONS, "include": ["*.js", "*.d.ts"]}))
    done = subprocess.run(
        [tool("tsc"), "--project", str(tmp_path), "--pretty", "false"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    problems = [line.partition("(")[0] for line in done.stdout.splitlines() if "error" in line]
    assert set(problems) == {"wrong.js"}, done.stdout
    assert len(problems) >= 2
