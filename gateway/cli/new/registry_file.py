"""The file with the registry: a line for a new message type in its table, and one that imports the handler."""

import ast
from dataclasses import dataclass

from gateway.cli.new.templates import import_line
from gateway.core.start_error import StartError

REGISTRY = '''"""The registry of this package: its messages, events and errors."""

from handlers.registry import Registry

registry = Registry(
    handlers={},
)
'''
"""The file of a package that has none yet."""


@dataclass(frozen=True)
class Entry:
    """A message type, and where its handler is."""

    type: str
    module: str
    handler: str

    def __str__(self) -> str:
        return f'"{self.type}": {self.handler}'


def with_entry(source: str, entry: Entry, *, place: str, taken: frozenset[str]) -> str:
    """Return the source with the entry, or raise `StartError` for a taken type or a table that is not written out."""
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise StartError(f"{place}, line {error.lineno}: expected Python, got {error.msg}") from None
    table = _table(tree)
    if entry.type in taken | _types(table):
        raise StartError(f"{entry.type} is taken; choose another name")
    lines = source.splitlines(keepends=True)
    if table is not None:
        _add_to_table(lines, table, str(entry))
        _add_import(lines, tree, entry)
    changed = "".join(lines)
    if not _has(changed, entry):
        raise StartError(f"{place}: expected `Registry(handlers={{…}})` with one type a line; add by hand: {entry}")
    return changed


def _table(tree: ast.Module) -> ast.Dict | None:
    """Find the table: what `HANDLERS` is set to, or the `handlers` that a `Registry` is made with."""
    for node in ast.walk(tree):
        match node:
            case ast.AnnAssign(target=ast.Name(id="HANDLERS"), value=ast.Dict() as table):
                return table
            case ast.Call(func=ast.Name(id="Registry"), keywords=keywords):
                for keyword in keywords:
                    if keyword.arg == "handlers" and isinstance(keyword.value, ast.Dict):
                        return keyword.value
    return None


def _types(table: ast.Dict | None) -> set[object]:
    return {key.value for key in table.keys if isinstance(key, ast.Constant)} if table else set()


def _has(source: str, entry: Entry) -> bool:
    """Return whether the entry has come where it belongs; a table in a form of its own may not take it."""
    try:
        return entry.type in _types(_table(ast.parse(source)))
    except SyntaxError:
        return False


def _add_to_table(lines: list[str], table: ast.Dict, entry: str) -> None:
    """Write the entry as the last line of the table."""
    first, last = table.lineno - 1, (table.end_lineno or 0) - 1
    indent = " " * (len(lines[first]) - len(lines[first].lstrip()))
    if not table.keys:
        head, tail = _around(lines[first], table)
        lines[first : last + 1] = [f"{head}{{\n{indent}    {entry},\n{indent}}}{tail}"]
    else:
        lines[last] = f"{indent}    {entry},\n{lines[last]}"


def _around(line: str, table: ast.Dict) -> tuple[str, str]:
    """Return what the line has before the table and behind it; positions of `ast` are bytes of UTF-8."""
    raw = line.encode()
    return raw[: table.col_offset].decode(), raw[table.end_col_offset :].decode()


def _add_import(lines: list[str], tree: ast.Module, entry: Entry) -> None:
    """Write the import where a sorter would: among those of the same package, by module."""
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    of_package = [
        node
        for node in imports
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(entry.module.partition(".")[0] + ".")
    ]
    line = import_line(entry.module, entry.handler)
    before = [node for node in of_package if (node.module or "") < entry.module]
    if before:
        lines[(before[-1].end_lineno or 0) - 1] += line
    elif of_package:
        lines[of_package[0].lineno - 1] = line + lines[of_package[0].lineno - 1]
    elif imports:
        lines[(imports[-1].end_lineno or 0) - 1] += "\n" + line
    else:
        lines.insert(0, line)
