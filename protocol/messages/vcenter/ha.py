"""vSphere HA at vCenter: what its agents tell of."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

import msgspec

from protocol.messages.base import Repeat, Request
from protocol.messages.host import Done
from protocol.terms import NodeName, VmName


class HaIncidentKind(StrEnum):
    """What happened."""

    HOST_FAILED = "hostFailed"
    HOST_ISOLATED = "hostIsolated"
    VM_RESTARTED = "vmRestarted"
    VM_NOT_RESTARTED = "vmNotRestarted"


class HaIncident(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of a host, or of ``vm``, which was on the host ``of``; ``last``: it is not tried again."""

    kind: HaIncidentKind
    host: NodeName
    vm: VmName | None = None
    of: NodeName | None = None
    reason: str = ""
    last: bool = False


class HaReport(Request[Done], frozen=True, kw_only=True):
    """The primary of a cluster tells its vCenter; sent once, also when the answer was lost."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    incidents: tuple[HaIncident, ...]
