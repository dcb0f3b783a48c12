"""A host's disk, looked at for archives with persisted keys, behind the host's back.

Each file of the disk is tried, as it was written and as it is synced, with every recovery key that
the host's console has shown to this lab; they stay in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.core import LabCore
from lab.matrix.archives import opened, recovery_key_of
from protocol.errors import CryptographicFailure, ProductError
from protocol.terms import NodeName
from services.esxi.configuration.archive import FOLDER


class Forensics:
    """Looks at the disks of one lab."""

    def __init__(self, lab: LabCore) -> None:
        self._lab = lab
        self._ways: dict[NodeName, dict[str, None]] = {}

    async def keys_on(self, host: NodeName) -> Mapping[str, Sequence[str] | None]:
        """The ids of persisted keys in each archive on the disk of ``host``, by path; None for
        one that no recovery key opens."""
        ways = self._ways.setdefault(host, {})
        try:
            ways[await recovery_key_of(self._lab, host)] = None
        except ProductError:  # it does not run: what was shown before is tried
            pass
        found: dict[str, Sequence[str] | None] = {}
        for path, data in await self._lab.disk_images(host):
            if f"{FOLDER}/state." in path:
                found[path] = _ids(data, tuple(ways))
        return found


def _ids(data: bytes, ways: Sequence[str]) -> tuple[str, ...] | None:
    for way in ways:
        try:
            return tuple(str(key) for key in opened(data, way).stored)
        except CryptographicFailure:
            continue
    return None
