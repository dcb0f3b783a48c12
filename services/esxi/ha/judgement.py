"""What a host is that does not answer the primary's heartbeats. Pure.

| answers | datastore heartbeat | its list says | it is       | its VMs                        |
|---|---|---|---|---|
| yes     | -                   | -             | live        | run there                      |
| no      | cannot be looked at | -             | unknown     | are left                       |
| no      | alive               | -             | partitioned | go on there, and are left      |
| no      | alive               | isolated      | isolated    | are left, but what it let go of |
| no      | gone                | orderly end   | shut down   | were stopped with it           |
| no      | gone                | anything else | failed      | are restarted                  |
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from services.esxi.ha.records import PoweronList


class HostCondition(StrEnum):
    """Spelled as ClusterDasFdmHostState has them, where it has one."""

    LIVE = "connectedToMaster"
    UNKNOWN = "unknown"
    PARTITIONED = "networkPartitionedFromMaster"
    ISOLATED = "networkIsolated"
    SHUT_DOWN = "hostDown orderly"
    FAILED = "hostDown"


class Signs(msgspec.Struct, frozen=True):
    """What is seen of a host. ``lives`` is its datastore heartbeat, None when the datastore does
    not say; ``told`` its list, None when it has written none."""

    answers: bool
    lives: bool | None
    told: PoweronList | None


def condition(signs: Signs) -> HostCondition:
    """By the table."""
    told = signs.told
    if signs.answers:
        return HostCondition.LIVE
    if signs.lives is None:
        return HostCondition.UNKNOWN
    if signs.lives:
        isolated = told is not None and told.isolated
        return HostCondition.ISOLATED if isolated else HostCondition.PARTITIONED
    if told is not None and told.orderly:
        return HostCondition.SHUT_DOWN
    return HostCondition.FAILED
