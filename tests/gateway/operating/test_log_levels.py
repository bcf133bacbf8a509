"""The levels of loggers, at their bound."""

import logging

import pytest

from gateway.core.local_socket import LocalSocket
from gateway.operating.all_nodes import AllNodes
from gateway.operating.log_levels import LogLevels, SetLevel
from gateway.testing import Gateway


async def test_with_as_many_levels_as_there_may_be_each_can_go_back(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.operating.log_levels.MAX_LEVELS", 1)
    monkeypatch.setattr(gateway.state.node_calls, "_handlers", {})
    first, second = (logging.getLogger(f"gateway.bound.{name}") for name in ("first", "second"))
    with LogLevels(gateway.state.audit, AllNodes(LocalSocket(), gateway.state.node_calls)).running() as levels:
        assert (await levels._set(SetLevel(level="debug", logger=first.name)))["is_set"]
        assert not (await levels._set(SetLevel(level="debug", logger=second.name)))["is_set"]
        assert (await levels._set(SetLevel(level="error", logger=first.name)))["now"] == "error"
        await levels._set(SetLevel(level="reset", logger=first.name))
        assert first.level == logging.NOTSET
        assert (await levels._set(SetLevel(level="debug", logger=second.name)))["is_set"]
