"""Every Python process of a run has the drawn bug that ``KEYSTEAD_BREAKAGE_BUG`` describes, if any:
the module is compiled of the broken tree when it is imported. Nothing on disk is another one."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

_BUG = os.environ.get("KEYSTEAD_BREAKAGE_BUG")


def _bugs() -> Any:
    """``tests.breakage.bugs``, by its place: this process may not have its package."""
    path = os.path.join(os.path.dirname(__file__), os.pardir, "bugs.py")
    spec = importlib.util.spec_from_file_location("_keystead_breakage_bugs", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


class _Broken(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        bugs = _bugs()
        tree = bugs.broken(bugs.Bug(**json.loads(_BUG or "")))
        return compile(tree, self.path, "exec", dont_inherit=True)


class _Finder:
    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _Broken(fullname, spec.origin)
        return spec


if _BUG:
    _path: str = json.loads(_BUG)["path"]
    _name = _path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    sys.meta_path.insert(0, _Finder(_name))
