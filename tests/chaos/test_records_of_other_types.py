"""A check reads a record by its type and its operation: one of another type says nothing to it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any, Final

import pytest

from chaos import checks
from chaos.checks import CHECKS
from chaos.history import Record
from protocol.events import EventTypeId

FOLDER: Final = Path(checks.__file__).parent
WORDS: Final = sorted(
    {
        node.value
        for file in (*FOLDER.glob("*.py"), *(FOLDER.parent / "oracle").rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if node.value.replace("_", "").replace(".", "").replace("-", "").isalpha()
    }
)
"""Every word in checks and oracle that could be the name of an operation."""

DATA: Final[dict[str, Any]] = {
    "fell": "background x: RuntimeError",
    "knobs": {"auto_unlock": False},
    "providers": [{"name": "p", "type": "trustAuthority", "servers": ["kms"]}],
    "internal_errors": 7,
}


def forged(number: int, op: str) -> Record:
    return Record(seq=number, t=float(number), node="esxi-001", type="probe", op=op, data=DATA)


LOCKED: Final = Record(
    seq=len(WORDS),
    t=float(len(WORDS)),
    node="vcenter",
    type="state",
    op="event_log",
    data={"told": [[EventTypeId.VM_LOCKED_KMS_CLUSTER_ERROR, "esxi-001", "vm-01"]]},
)
"""Of standard providers it is wrong, of trusted ones it is not: what says which is no probe."""


@pytest.mark.parametrize("name", CHECKS)
def test_it_comes_to_the_same_as_without(name: str) -> None:
    assert len(WORDS) > 100 and {"staging", "node", "counters", "event_log"} <= {*WORDS}
    records = [forged(number, op) for number, op in enumerate(WORDS)]
    assert CHECKS[name].judge([*records, LOCKED]) == CHECKS[name].judge([LOCKED])
