"""A drawn bug in a process that runs: the code of its function is exchanged, nothing on disk is.

A function that is being run goes on as it was. What calls it the next time has the bug, whoever
has imported it and by whatever name.
"""

from __future__ import annotations

import ast
import gc
import importlib
import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Final

from tests.breakage.bugs import ROOT, Bug, broken, probed


class Reached(set[int]):
    """Numbers of the probes that this process has come to. ``marks`` is a file with a byte for
    each, which other processes have too: it is 1 when one of them has come there."""

    marks: Path | None = None

    def add(self, number: int) -> None:
        if self.marks is not None and number not in self:
            file = os.open(self.marks, os.O_WRONLY)
            os.pwrite(file, b"\1", number)
            os.close(file)
        super().add(number)


reached: Final = Reached()
_CALL = f"__import__({__name__!r}, fromlist=['reached']).reached.add"


def plant(bug: Bug) -> None:
    """Put it in. ``LookupError`` when the process has no such function."""
    exchange(bug.path, broken(bug), {bug.function})


def probe(bugs: Sequence[Bug]) -> None:
    """From now on ``reached`` has the numbers of those bugs whose places the process comes to."""
    numbered = sorted(enumerate(bugs), key=lambda one: one[1].path)
    for path, group in groupby(numbered, key=lambda one: one[1].path):
        some = list(group)
        exchange(path, probed(path, some, _CALL), {bug.function for _, bug in some})


def exchange(path: str, tree: ast.Module, functions: set[str]) -> ModuleType:
    """From now on these functions of the file's module are as they are in the tree. ``LookupError``
    when the process does not have one of them."""
    module = importlib.import_module(
        path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    )
    file = str(ROOT / path)
    new = {
        (code.co_qualname, code.co_firstlineno): code
        for code in _codes(compile(tree, file, "exec", dont_inherit=True))
        if code.co_qualname.partition(".<locals>")[0] in functions
    }
    gc.unfreeze()  # what is frozen is listed nowhere
    left = set(functions)
    for found in gc.get_objects():
        if isinstance(found, FunctionType) and found.__code__.co_filename == file:
            code = new.get((found.__code__.co_qualname, found.__code__.co_firstlineno))
            if code is not None and len(code.co_freevars) == len(found.__code__.co_freevars):
                found.__code__ = code
                left.discard(code.co_qualname)
    if left:
        raise LookupError(f"{path} has no function {', '.join(sorted(left))} to be broken")
    return module


def _codes(code: CodeType) -> Iterator[CodeType]:
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield const
            yield from _codes(const)
