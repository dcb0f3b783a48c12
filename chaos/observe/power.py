"""Power changes of VMs, read from the hosts' logs at the end of a run."""

from __future__ import annotations

from typing import Final

from chaos.history import History
from chaos.lab import LabUnderTest
from chaos.observe.listing import OWN

OP: Final = "power"
"""Of the ``state`` record: ``changes``, oldest first, each with ``t`` (seconds of the run), ``vm``,
``host``, its ``boot`` and the ``power`` that the VM has from then on."""
LINE: Final = "vm.powered"
"""Of the log lines that hosts write when a guest has started or ended."""


async def power_changes(lab: LabUnderTest, history: History, since: float) -> None:
    """Record the power changes that hosts logged since then, in lab seconds."""
    here = history.add("note", op="logs")
    if here is None:
        return
    zero = lab.monotonic() - here.t
    changes = [
        {
            "t": round(line.at - zero, 6),
            "vm": str(line.fields["vm"]),
            "host": str(line.node),
            "boot": line.boot,
            "power": str(line.fields["power"]),
        }
        for line in await lab.log_lines(LINE, since)
        if not str(line.fields["vm"]).startswith(OWN)
    ]
    history.add("state", op=OP, changes=changes)
