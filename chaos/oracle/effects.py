"""The effect of a fault on the oracle's facts: declared by each fault, read by the fold.

The oracle knows no fault by name. The ``effect`` of a class in ``chaos.faults`` declares what the
fault takes away while it holds, and what it leaves open.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Takes(StrEnum):
    """One thing that a fault takes away while it holds. Fields are those of the fault's struct."""

    LINKS = "links"
    """What passes between the nodes of ``a`` and those of ``b``: messages and connections."""

    CONNECTIONS = "connections"
    """Connections under TLS between ``a`` and ``b``, and no message."""

    BUS = "bus"
    """What passes between nodes over the broker."""

    POWER = "power"
    """The power of its nodes, or their process."""

    STEPS = "steps"
    """Its nodes stand still."""

    CLOCK = "clock"
    """The clocks of its nodes are wrong."""

    TPM = "tpm"
    """The TPM of its hosts, with the power off; the cure seals their configuration anew."""

    NEXT_TPM = "next tpm"
    """The TPM of its hosts, from their next boot on."""

    NEXT_POLICY = "next policy"
    """Something that the sealing policy always covers, from the next boot on."""

    NEXT_MEASUREMENTS = "next measurements"
    """What its fields (``secure_boot``, ``version``, ``build``, ``event``) say is measured
    otherwise, from the next boot on; the policy may cover it."""

    CERTIFICATE = "certificate"
    """The trust between ``vcenter`` and ``servers`` of ``provider`` (STD-03)."""

    ANSWERS = "answers"
    """Its key servers reject ``operations``, of ``keys`` or ``vms`` when it has some."""

    KEYS = "keys"
    """``keys``, and those of ``vms``, are not Active at ``servers``, which stop to be copied."""

    NEWER_KEYS = "newer keys"
    """Key servers are put back to an older state, at its begin or by its cure."""

    PROVIDER = "provider"
    """``vcenter`` deletes ``provider``."""


AT_NEXT_BOOT = frozenset({Takes.NEXT_TPM, Takes.NEXT_POLICY, Takes.NEXT_MEASUREMENTS})
"""In force from the next boot on; at their end, a host that stands at its screen is booted."""


@dataclass(frozen=True)
class FaultEffect:
    """What a fault takes away, and how surely.

    ``share``: the field with the share of messages or nodes affected; below 1 the loss is partial.
    ``undone_with``: the end of one fault also ends another of its kind that has the same values in
    these fields (a shared node, for ``nodes``); None: it does not.
    """

    takes: tuple[Takes, ...] = ()
    partly: bool = False
    """It takes a part of it, so what is left is open."""

    share: str = ""
    passes_by: bool = False
    """Once it holds it takes nothing more: what was in flight is lost, and nodes go elsewhere."""

    undone_with: tuple[str, ...] | None = None
    spreads: bool = False
    """Nodes that it does not name may go down with those that it names."""

    failure_is_open: bool = False
    """A host under it may have been shut down in order, which vSphere HA takes for no failure."""

    if_required: bool = False
    """It changes nothing on a host that does not require what it takes."""


NOTHING = FaultEffect()
"""Of a fault that the oracle need not follow: it changes no answer."""
