"""The time of a lab on several machines goes on when its supervisor is killed, for nodes live on.

``<lab>/clock`` has the epoch on this machine's monotonic clock, until a supervisor ends in order. A
lab on one machine goes on from the time that was noted last.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from lab.state.state_folder import LabFolder

SLACK_S: Final = 30.0  # the noted time is some seconds old, and a start takes some
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class _Kept(msgspec.Struct, frozen=True):
    boot: str
    epoch: float


def going_on(folder: LabFolder, epoch: float, lease_s: float) -> float:
    """The epoch of the last supervisor when nodes of it may be alive, else ``epoch``, which goes on
    from the time that was noted last; kept for the next one."""
    boot = _BOOT_ID.read_text().strip()
    with suppress(msgspec.DecodeError):
        kept = msgspec.json.decode(folder.read("clock"), type=_Kept)
        if kept.boot == boot and 0 <= epoch - kept.epoch <= lease_s + SLACK_S:
            epoch = kept.epoch
    folder.write("clock", msgspec.json.encode(_Kept(boot, epoch)))
    return epoch


def remove_clock(folder: LabFolder) -> None:
    """Nothing of the lab is alive."""
    (folder.path / "clock").unlink(missing_ok=True)
