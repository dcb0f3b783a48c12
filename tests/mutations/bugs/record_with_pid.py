"""Determinism broken: a line of a node's log tells the number of this process."""

from __future__ import annotations

import os
from typing import Any

from services.runtime.node import NodeRunner
from tests.mutations.bugs.planting import plant


def _with_the_pid(original: Any) -> Any:
    def record(self: NodeRunner, kind: str, **fields: Any) -> None:
        original(self, kind, **{**fields, "pid": os.getpid()})

    return record


plant(NodeRunner, "record", _with_the_pid)
