"""A package that adds a message to the gateway, installed into a folder of its own."""

import subprocess
import sys
from pathlib import Path

WAIT_SECONDS = 60

PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}-plugin"
version = "1.0"

[project.entry-points."json_gateway.registry"]
{name} = "{name}.registry:registry"

[tool.hatch.build.targets.wheel]
packages = ["{name}"]
"""

METADATA = """\
Metadata-Version: 2.1
Name: {name}-plugin
Version: 1.0
"""

ENTRY_POINT = """\
[json_gateway.registry]
{name} = {name}.{module}:registry
"""

REGISTRY = """\
from handlers import MsgHandler, Registry
from schemas.base import Wire


class Vote(Wire):
    choice: int


class VoteHandler(MsgHandler[Vote, Vote]):
    schema = Vote

    async def handle(self, data: Vote) -> Vote:
        return data


registry = Registry(handlers={"poll.vote": VoteHandler})
"""


def write_module(folder: Path, name: str, source: str = REGISTRY) -> None:
    """Write a package with the module `registry`."""
    package = folder / name
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "registry.py").write_text(source)


def install_plugin(folder: Path, name: str) -> Path:
    """Build and install a package with an entry point; return the folder to put on `sys.path`."""
    project, site = folder / f"{name}-project", folder / "site"
    write_module(project, name)
    (project / "pyproject.toml").write_text(PYPROJECT.format(name=name))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--no-compile"]
    subprocess.run([*pip, *offline, "--target", str(site), str(project)], check=True, timeout=WAIT_SECONDS)
    return site


def write_plugin(folder: Path, name: str, module: str = "registry") -> Path:
    """Write what pip would install, in less than a second; return the folder to put on `sys.path`."""
    site = folder / "site"
    write_module(site, name)
    metadata = site / f"{name}_plugin-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(METADATA.format(name=name))
    (metadata / "entry_points.txt").write_text(ENTRY_POINT.format(name=name, module=module))
    return site
