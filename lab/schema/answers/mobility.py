"""What a VM's move came to."""

from __future__ import annotations

from lab.schema.answers.base import Answer
from lab.schema.answers.inventory import Vm
from lab.schema.tables import ColumnTable

_STREAM = {True: "encrypted", False: "clear", None: None}


class Migration(Answer, frozen=True, kw_only=True):
    """The VM on its new host. ``gap_s``: lab seconds in which its guest stood still; ``size``:
    bytes of memory that went from host to host; ``encrypted``: whether the stream was. None
    when it was off, or there already."""

    vm: Vm
    gap_s: float | None = None
    size: int | None = None
    encrypted: bool | None = None

    table = ColumnTable(
        "name",
        (
            ("VM", lambda row: row.vm.vm),
            ("HOST", lambda row: row.vm.host),
            ("POWER", lambda row: row.vm.power),
            ("SWITCH-OVER", lambda row: None if row.gap_s is None else f"{row.gap_s:.3f} s"),
            ("STREAM", lambda row: _STREAM[row.encrypted]),
            ("MEMORY", lambda row: None if row.size is None else f"{row.size} bytes"),
        ),
    )

    @property
    def name(self) -> str:
        """Of the VM."""
        return self.vm.vm
