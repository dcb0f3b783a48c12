"""The labs that are played, and which of their parts are killed in turn."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

PACE: Final = 20.0
PAIR_TIMEOUT_S: Final = 60.0
"""Lab seconds, three real ones: a busy machine must not pass for a server that is down."""
RETRY_S: Final = 2.0
SETTLE_S: Final = 100.0
"""Lab seconds after a kill in which servers that replicate have met and told each other all."""
REMEDIATION_S: Final = 20.0
"""Lab seconds from one look of a vCenter at its services to the next."""
_KNOBS: Final = {
    "pair_timeout_s": PAIR_TIMEOUT_S,
    "pair_retry_s": RETRY_S,
    "group_exchange_s": 5.0,
}


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A lab by its name; ``share`` of 100 rounds are played in it. ``with_``: options of its file.

    ``mode``: how its key servers replicate.
    """

    name: str
    share: int
    topology: str = "default"
    mode: Literal["sync-pair", "async", "none"] = "none"
    with_: dict[str, Any] = {}

    @property
    def options(self) -> dict[str, Any]:
        """What ``lab.client.Lab`` is given."""
        return {"pace": PACE, "knobs": _KNOBS, **self.with_}


SUPERVISOR: Final = "supervisor"
KINDS: Final = (
    Kind(
        name="pair",
        share=35,
        mode="sync-pair",
        with_={"hosts": 1, "vms": 1, "tpm": "none", "kms": 2},
    ),
    Kind(
        name="group",
        share=35,
        mode="async",
        with_={"hosts": 1, "vms": 1, "tpm": "none", "kms": {"replicas": 3, "mode": "async"}},
    ),
    Kind(
        name="trusted",
        share=25,
        topology="trusted",
        with_={
            "hosts": 1,
            "vms": 1,
            "knobs": {**_KNOBS, "remediation_interval_s": REMEDIATION_S},
        },
    ),
    Kind(name=SUPERVISOR, share=5),
)
DATA_BROKER: Final = "data broker"
BROKERS: Final = (DATA_BROKER, "control broker")
FORK_SERVER: Final = "fork server"


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a player says of a round: which part was killed, how many operations were acknowledged
    in it, how many of those before it were read back, and what was lost, in words."""

    part: str
    acknowledged: int
    read: int
    lost: tuple[str, ...] = ()


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """What a player says at its end: the same of a last look at everything, and how the history of
    its key servers was judged: ``operations`` in ``parts``, ``undecided`` of which came to no end.
    """

    read: int
    lost: tuple[str, ...] = ()
    operations: int = 0
    parts: int = 0
    undecided: int = 0
    violations: tuple[str, ...] = ()
