"""Where a new message type belongs: in the gateway's own sources, or in a package of the user's own."""

import keyword
import tomllib
from dataclasses import dataclass
from pathlib import Path

from gateway.cli.new import templates
from gateway.cli.new.templates import Message
from gateway.core.import_names import NAMES, REMEDY
from gateway.core.start_error import StartError
from handlers.registry import HANDLERS

DISTRIBUTION = "json-gateway"


@dataclass(frozen=True)
class Project:
    """A folder with sources. `package` is the user's own, or None in the gateway's sources."""

    root: Path
    folder: Path
    """The folder of the package; in the gateway's sources, that of `handlers`, `schemas` and `gateway`."""
    package: str | None

    @property
    def registry_file(self) -> Path:
        """Return the file with the registry."""
        return self.folder / "registry.py" if self.package else self.folder / "handlers" / "registry.py"

    def module(self, message: Message) -> str:
        """Return the module of the handler."""
        return f"{self._prefix}handlers.{message.module}"

    def files(self, message: Message) -> dict[Path, str]:
        """Return the files of the message type."""
        schemas = "schemas" if self.package else "schemas.messages"
        schema_module = f"{self._prefix}{schemas}.{message.module}"
        if self.package:
            tests, test = "tests", templates.unit_test(message, self.module(message), schema_module)
        else:
            tests, test = "tests/handlers", templates.socket_test(message)
        return {
            self.folder / schemas.replace(".", "/") / f"{message.module}.py": templates.schema(message, schema_module),
            self.folder / "handlers" / f"{message.module}.py": templates.handler(message, schema_module),
            self.root / tests / f"test_{message.module}.py": test,
        }

    def packages(self) -> dict[Path, str]:
        """Return what a package of the user's own still needs to be one."""
        if self.package is None:
            return {}
        needed = {
            self.folder / "__init__.py": f'"""What {self.package} adds to the gateway."""\n',
            self.folder / "py.typed": "",
            self.folder / "schemas" / "__init__.py": '"""What messages look like."""\n',
            self.folder / "handlers" / "__init__.py": '"""What messages do."""\n',
        }
        return {path: text for path, text in needed.items() if not path.exists()}

    def taken_types(self) -> frozenset[str]:
        """Return the types that the registry's file itself does not show."""
        return frozenset(HANDLERS) if self.package else frozenset()

    def next_step(self, message: Message) -> str:
        """Return what is left to do by hand."""
        if self.package is None:
            return f"now add a row for `{message.type}` to section 6 of docs/protocol.md"
        return f"to serve it: GATEWAY_REGISTRY={self.package}.registry:registry gateway serve"

    @property
    def _prefix(self) -> str:
        return f"{self.package}." if self.package else ""


def find_project(root: Path, package: str | None) -> Project:
    """Find what is in this folder, or raise `StartError`."""
    if package is None and _is_ours(root):
        return Project(root, root, None)
    base = root / "src" if (root / "src").is_dir() else root
    name = package if package is not None else _only_package(base)
    if not name.isidentifier() or keyword.iskeyword(name):
        raise StartError(f"--package: expected the name of a package, such as shop, got {name!r}")
    if name in {*NAMES, "gateway", "tests"}:
        raise StartError(f"--package: expected a name of its own, such as shop, got {name!r}; {REMEDY}")
    return Project(root, base / name, name)


def _is_ours(root: Path) -> bool:
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
    except (OSError, ValueError):
        return False
    return bool(project.get("name") == DISTRIBUTION) and (root / "handlers" / "registry.py").is_file()


def _only_package(base: Path) -> str:
    found = sorted(path.parent.name for path in base.glob("*/__init__.py"))
    found = [name for name in found if name not in {"tests", *NAMES}]
    if len(found) != 1:
        listed = ", ".join(found) or "none"
        raise StartError(f"expected one package in {base}, got {listed}; name yours with --package, such as shop")
    return found[0]
