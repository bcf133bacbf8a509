"""The page's own table of closes, for a close whose `bye` was lost."""

import re
from importlib import resources

from schemas.codes import Close, Reconnect

# RFC 6455's own code stands for several reasons, most of which need another credential.
AMBIGUOUS = 1008


def test_the_page_knows_after_which_closes_it_must_not_come_back() -> None:
    script = resources.files("gateway").joinpath("console/connection.js").read_text(encoding="utf-8")
    table = script.partition("const AFTER_CLOSE = {")[2].partition("}")[0]
    known = {int(code): step for code, step in re.findall(r'(\d{4}): "(\w+)"', table)}
    final = {Reconnect.NEVER, Reconnect.NEW_CREDENTIAL}
    expected = {close.code: str(close.reconnect) for close in Close if close.reconnect in final}
    assert known == expected | {AMBIGUOUS: "new_credential"}
