"""What a command or a start does not need, it does not import."""

from pathlib import Path

import pytest

from tests.gateway.cli.command import python

PROGRAM = """
import asyncio, sys
from typer.testing import CliRunner
from gateway.cli import app as command

def imported(*packages):
    return sorted(sys.modules.keys() & set(packages))

def run(*words):
    result = CliRunner().invoke(command, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output

async def start(app):
    async with app.router.lifespan_context(app):
        pass

run("settings")
print(imported("cryptography", "fastapi", "passlib", "sqlalchemy"))
run("users", "list")
print(imported("alembic", "cryptography", "httpx2", "sqlalchemy.dialects.postgresql", "starlette.requests", "uvicorn"))
import gateway.asgi
asyncio.run(start(gateway.asgi.app))
print(imported("alembic", "httpx2", "prometheus_client", "redis", "sqlalchemy.dialects.postgresql", "sqlalchemy.orm"))
print(imported("gateway.cluster.dead_nodes", "gateway.cluster.throttle"))
"""


@pytest.mark.server
def test_commands_and_the_first_start_import_only_what_they_use(tmp_path: Path) -> None:
    done = python(tmp_path, "-c", PROGRAM)
    assert (done.status, done.out) == (0, "[]\n" * 4), done.err
