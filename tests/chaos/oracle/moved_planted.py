"""Bugs to plant into what the fold knows of VMs that are started by people, and that change their
host: a method, the place in its text, what stands there instead, and the run that shows it."""

from __future__ import annotations

from typing import Any

from chaos.oracle.fold.fold import Fold

PLANTED: tuple[tuple[Any, str, str, str], ...] = (
    (
        Fold._watch_starts,
        "self._may_start(vm)",
        "False",
        "powered on when its key could come for a moment",
    ),
    (
        Fold._operation,
        'or record.op == "vm.off"',
        "",
        "off, though it could not be started",
    ),
    (
        Fold._operation,
        "not could",
        "False",
        "native: powered on from a key that was evicted",
    ),
    (
        Fold._vm,
        "or self.seen_vm(record.node) != RUNNING",
        "or True",
        "restarted elsewhere, and off there",
    ),
)
