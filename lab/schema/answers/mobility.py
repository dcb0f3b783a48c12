"""What a VM's move came to."""

from __future__ import annotations

from lab.schema.answers.base import Answer
from lab.schema.answers.inventory import Vm


class Migration(Answer, frozen=True, kw_only=True):
    """The VM on its new host. ``gap_s``: lab seconds in which its guest stood still; ``size``:
    bytes of memory that went from host to host; ``encrypted``: whether the stream was. None
    when it was off, or there already."""

    vm: Vm
    gap_s: float | None = None
    size: int | None = None
    encrypted: bool | None = None
