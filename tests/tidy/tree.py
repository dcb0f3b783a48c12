"""The files of this tree, as the tidy tests read them: tracked by git, or found by walking.

A clone without git, or an unpacked archive, is walked; folders of tools are left out there.
"""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("protocol", "services", "chaos", "lab")
_TOOLS = {"__pycache__", "build", "dist", "node_modules"}
_OWN_DOTS = {".ci", ".editorconfig", ".github", ".gitignore", ".pre-commit-config.yaml"}


@cache
def parsed(text: str, path: str) -> ast.Module:
    """Kept: who has read the whole tree gives back what is kept (``cache_clear``)."""
    return ast.parse(text, path)


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    """All statements at any depth; what they consist of, which is most of a tree, is left out."""
    inside = [tree]
    while inside:
        node = inside.pop()
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            parts = getattr(node, name, None)
            if isinstance(parts, list):
                yield from parts
                inside += parts


@dataclass(frozen=True)
class Source:
    """One file: ``path`` from the root, with slashes."""

    path: str
    text: str

    @property
    def python(self) -> bool:
        return self.path.endswith(".py")

    @property
    def shell(self) -> bool:
        return self.text.startswith("#!/bin/sh") or self.path.endswith(".sh")

    @property
    def test(self) -> bool:
        return self.path.startswith("tests/")

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    def tree(self) -> ast.Module:
        """The syntax tree, for reading only: it is made once."""
        return parsed(self.text, self.path)

    def at(self, line: int, message: str) -> str:
        """A finding, as ``path:line: message``."""
        return f"{self.path}:{line}: {message}"


def _tracked() -> list[str] | None:
    if not (ROOT / ".git").exists():
        return None
    try:
        found = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None  # no git here, or a checkout of another user
    return [name for name in found.stdout.split("\0") if name]


def _walked() -> list[str]:
    def kept(part: str) -> bool:
        return part in _OWN_DOTS or not (part.startswith(".") or part in _TOOLS)

    paths = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    return [
        path.as_posix()
        for path in paths
        if all(kept(p) for p in path.parts) and not path.parts[0].endswith(".egg-info")
    ]


@cache
def sources() -> tuple[Source, ...]:
    """Every text file of the tree, by path. A file that is no UTF-8 text is left out."""
    found = []
    for name in sorted(_tracked() or _walked()):
        path = ROOT / name
        try:
            found.append(Source(name, path.read_text("utf-8")))
        except (FileNotFoundError, UnicodeDecodeError):
            continue  # removed and not yet committed; a picture
    return tuple(found)


def python_sources() -> tuple[Source, ...]:
    """The Python files."""
    return tuple(source for source in sources() if source.python)


def package_sources() -> tuple[Source, ...]:
    """The Python files of the four packages."""
    return tuple(s for s in python_sources() if s.path.split("/")[0] in PACKAGES)
