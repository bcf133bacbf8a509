"""The client's own table of closes, for a close without its `bye`."""

import re
from pathlib import Path

from schemas.codes import Close, Reconnect

MODULE = Path(__file__).parents[3] / "clients/javascript/gateway-client.js"
# RFC 6455's own code stands for several reasons, most of which need another credential.
AMBIGUOUS = 1008


def test_the_client_knows_after_which_closes_it_must_not_come_back() -> None:
    table = MODULE.read_text(encoding="utf-8").partition("const AFTER_CLOSE = {")[2].partition("}")[0]
    known = {int(code): step.lower() for code, step in re.findall(r"(\d{4}): (\w+)", table)}
    final = {Reconnect.NEVER, Reconnect.NEW_CREDENTIAL}
    expected = {close.code: str(close.reconnect) for close in Close if close.reconnect in final}
    assert known == expected | {AMBIGUOUS: "new_credential"}
