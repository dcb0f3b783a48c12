"""What a change of the tree changes: functions, modules, files, as ``tests.reached`` notes them.

A function is known by the path of its file and its qualified name, and by a digest of its syntax
tree: comments, layout and docstrings change nothing. What stands outside of functions is one more
entry of its module, without a name; imports are left out of it.
"""

from __future__ import annotations

import ast
import hashlib
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

import msgspec

ROOT = Path(__file__).resolve().parents[2]
_FOR_ALL = ("pyproject.toml", "requirements", "keystead", "bootstrap/", ".ci/", "tests/runner/")
"""A change of what begins so may change any test; programs of the shell note nothing."""


def concerns_all(path: str) -> bool:
    """Whether a change of this file may change any test."""
    return path.startswith(_FOR_ALL) or path.rpartition("/")[2] == "conftest.py"


def folders_of(path: str) -> list[str]:
    """Its folder, and those above, up to the root, which is empty."""
    return [str(folder) if str(folder) != "." else "" for folder in PurePath(path).parents]


class File(msgspec.Struct, frozen=True):
    """One file of the tree. ``functions`` and ``imports`` are those of a Python file."""

    digest: str
    functions: dict[str, str] = {}
    imports: tuple[str, ...] = ()


Tree = dict[str, File]


def files() -> list[str]:
    """All files that git knows or would take, by their path from the root."""
    told = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    return sorted(name for name in set(told.stdout.split("\0")) if name and (ROOT / name).is_file())


def tree_of(before: Tree) -> Tree:
    """The tree as it is; what has not changed since ``before`` is not read again."""
    return {path: _file(path, before.get(path)) for path in files()}


def _file(path: str, before: File | None) -> File:
    data = (ROOT / path).read_bytes()
    digest = hashlib.blake2b(data, digest_size=12).hexdigest()
    if before is not None and before.digest == digest:
        return before
    if not path.endswith(".py"):
        return File(digest)
    try:
        parsed = ast.parse(data)
    except SyntaxError:
        return File(digest)  # its tests tell
    return File(digest, _functions(parsed), tuple(sorted(set(_imports(parsed)))))


def _functions(module: ast.Module) -> dict[str, str]:
    """Digests by qualified name; that of the rest of the module has an empty name."""
    found: dict[str, str] = {}
    rest: list[str] = []

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                name = prefix + node.name
                found[name] = _digest(found.get(name, "") + _dump(node))
                if node.decorator_list:  # it may enter itself somewhere
                    rest.append(name)
            elif isinstance(node, ast.ClassDef):
                head = [*node.bases, *node.keywords, *node.decorator_list]
                rest.append(" ".join((prefix, node.name, *(ast.dump(part) for part in head))))
                visit(node.body, f"{prefix}{node.name}.")
            elif not _is_text(node) and not isinstance(node, ast.Import | ast.ImportFrom):
                rest.append(ast.dump(node))

    visit(module.body, "")
    found[""] = _digest("\n".join(rest))
    return found


def _dump(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    if node.body and _is_text(node.body[0]):
        node.body = node.body[1:]
    return ast.dump(node)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _imports(module: ast.Module) -> Iterator[str]:
    """Modules of this tree by dotted name; of ``from a import b`` also ``a.b``."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


class Change(msgspec.Struct, frozen=True):
    """What differs between two trees.

    ``functions`` are keys of changed or removed functions; ``modules`` are paths of modules in
    which something outside of functions changed; ``paths`` are all files that differ.
    """

    functions: frozenset[str]
    modules: frozenset[str]
    paths: frozenset[str]
    came_or_went: frozenset[str]


def difference(old: Tree, new: Tree) -> Change:
    paths = {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}
    functions: set[str] = set()
    modules: set[str] = set()
    for path in paths:
        before, after = (tree[path].functions if path in tree else {} for tree in (old, new))
        for name in before.keys() | after.keys():
            if before.get(name) == after.get(name):
                continue
            if name:
                functions.add(f"{path}::{name}")
            else:
                modules.add(path)
    came_or_went = old.keys() ^ new.keys()
    return Change(*map(frozenset, (functions, modules, paths, came_or_went)))


def module_name(path: str) -> str:
    """``lab/cli/__init__.py`` is ``lab.cli``."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def importers(trees: Iterable[Tree], modules: Iterable[str]) -> frozenset[str]:
    """Paths of files that import one of these modules, given by path, themselves or by others."""
    by_name: dict[str, set[str]] = defaultdict(set)
    for tree in trees:
        for path, file in tree.items():
            for name in file.imports:
                by_name[name].add(path)
    found: set[str] = set()
    left = [*modules]
    while left:
        new = by_name.get(module_name(left.pop()), set()) - found
        found |= new
        left += new
    return frozenset(found)
