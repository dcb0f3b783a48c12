"""Bugs to plant into what the fold knows of VMs that go on elsewhere: a method, the place in its
text, what stands there instead, and the run that shows it."""

from __future__ import annotations

from typing import Any

from chaos.oracle.fold.answers import FoldAnswers
from chaos.oracle.fold.fold import Fold
from chaos.oracle.fold.hosts import Derivation
from chaos.oracle.fold.operations import FoldedOperations
from chaos.oracle.fold.ways import Ways

PLANTED: tuple[tuple[Any, str, str, str], ...] = (
    (
        FoldedOperations._hold_move,
        "target not in could",
        "False",
        "goes on: migrated to where no key can have come",
    ),
    (
        FoldedOperations._watch_starts,
        "self._watch_move(vm, ask, could)",
        "pass",
        "goes on: vCenter is away when it is done",
    ),
    (
        FoldAnswers._places_elsewhere,
        "and not host.persisted",
        "",
        "goes on: its key may be persisted there",
    ),
    (
        Derivation.could_derive,
        "self.at_boot | ",
        "",
        "goes on: its key was derived there before the deletion was told",
    ),
    (
        Ways.boot,
        "way.came = False",
        "pass",
        "goes on: migrated to where no key can have come",
    ),
    (
        Fold._node,
        "host.lives + 1",
        "host.lives",
        "goes on: restarted where no key can have come",
    ),
)
