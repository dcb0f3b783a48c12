"""The condition of a host that does not answer the primary's heartbeats. Pure.

| answers | datastore heartbeat | its list says | condition   | its VMs                          |
|---|---|---|---|---|
| yes     | -                   | -             | live        | run there                        |
| no      | cannot be read      | -             | unknown     | are left                         |
| no      | held                | -             | partitioned | run on there, and are left       |
| no      | held                | isolated      | isolated    | are left, but the ones it let go |
| no      | free                | orderly end   | shut down   | were stopped with it             |
| no      | free                | anything else | failed      | are restarted                    |
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from services.esxi.ha.records import PoweronList


class HostCondition(StrEnum):
    """Conditions, spelled as in ClusterDasFdmHostState where it has them."""

    LIVE = "connectedToMaster"
    UNKNOWN = "unknown"
    PARTITIONED = "networkPartitionedFromMaster"
    ISOLATED = "networkIsolated"
    SHUT_DOWN = "hostDown orderly"
    FAILED = "hostDown"


class SignsOfLife(msgspec.Struct, frozen=True):
    """What is seen of a host. ``lives`` is its datastore heartbeat, None when the datastore does
    not answer; ``listed`` its list, None when it has written none."""

    answers: bool
    lives: bool | None
    listed: PoweronList | None


def judge_condition(signs: SignsOfLife) -> HostCondition:
    """The condition by the table."""
    listed = signs.listed
    if signs.answers:
        return HostCondition.LIVE
    if signs.lives is None:
        return HostCondition.UNKNOWN
    if signs.lives:
        isolated = listed is not None and listed.isolated
        return HostCondition.ISOLATED if isolated else HostCondition.PARTITIONED
    if listed is not None and listed.orderly:
        return HostCondition.SHUT_DOWN
    return HostCondition.FAILED
