"""Modules below this one exist for processes with ``KEYSTEAD_BREAKAGE``, a file of drawn bugs.

Importing ``probes`` probes the places of all of them, importing ``bug_7`` plants the seventh: names
for the ``patch`` of a lab, which is imported before any of its nodes is made.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Final

from tests.breakage.bugs import Bug
from tests.breakage.planting import plant, probe, reached

FILE: Final = "KEYSTEAD_BREAKAGE"
__path__: list[str] = []  # nothing of it is on disk


def drawn() -> list[Bug]:
    """The bugs of the file that the environment names."""
    return [Bug(**one) for one in json.loads(Path(os.environ[FILE]).read_bytes())]


class _Planting(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__.rpartition(".")[2]
        if name == "probes":
            probe(drawn())
            marks = Path(os.environ[FILE]).with_suffix(".reached")
            reached.marks = marks if marks.exists() else None
        else:
            plant(drawn()[int(name.removeprefix("bug_"))])


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.rpartition(".")
        ours = package == __name__ and (name == "probes" or name.startswith("bug_"))
        return ModuleSpec(fullname, _Planting()) if ours else None


sys.meta_path.append(_Finder())
