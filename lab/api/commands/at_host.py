"""What a host's own administrator does there with its keys; vCenter is not told.

A key is written ``provider/id``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.api.commands.base import Command, wrong
from lab.api.commands.crypto import check_key

if TYPE_CHECKING:
    from lab.api.answers import RemovedKeyList


class HostRemoveKeys(Command["RemovedKeyList"], frozen=True, tag="host.remove-keys"):
    """RemoveKeys at the host: keys leave its cache, used or not, and by the knob
    ``store_follows_cache`` its store.

    vCenter is not told, and brings them again when it looks next [STD-13]. Running VMs go on
    [LOCK-04], and so does a host whose host key it was, until its next boot.
    """

    host: str
    keys: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.keys:
            raise wrong("name at least one key, provider/id")
        for key in self.keys:
            check_key(key)
