"""``kms.slow``: key servers take longer for what they are asked.

Requests still wait in order for a core of their server (decision 103), so a server that gets more
than it can take has a queue that grows.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, model_validator

from chaos.errors import ChaosError
from chaos.faults.base import Drawn, Fault, Notes, Params, Targets, all_of, names, status_of
from chaos.faults.power import NodesFault, NodesParams
from chaos.lab import LabUnderTest
from chaos.oracle.effects import FaultEffect, Takes
from chaos.units import Seconds, Share, format_s
from protocol.messages.agent import Distribution, ServiceTime, Slowdown
from protocol.terms import Role


class KmsSlowParams(NodesParams):
    """Which servers, and how slow: ``takes`` (time on top of each request), or a ``factor`` of the
    service times of its Lab file, or both."""

    takes: Seconds = 0.0
    distribution: Distribution = Distribution.EXPONENTIAL
    factor: float = Field(default=1.0, ge=1, le=1000)
    share: Share = 1.0

    @model_validator(mode="after")
    def _slows(self) -> KmsSlowParams:
        if not self.takes and self.factor == 1:
            raise ValueError("give takes, or a factor above 1")
        if not self.share:
            raise ValueError("a share of 0% slows nothing")
        return self


class KmsSlow(NodesFault, frozen=True, kw_only=True):
    """Key servers are slow: a share of their requests takes longer."""

    kind: ClassVar[str] = "kms.slow"
    example: ClassVar[str] = "on: kms, takes: 200ms, distribution: exponential, share: 50%"
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.STEPS,), partly=True)
    drawn: ClassVar[Drawn] = Drawn.NEVER
    undrawn: ClassVar[str] = "what it does shows under a load only: `load-slow-kms`"
    params: ClassVar[type[Params]] = KmsSlowParams
    role: ClassVar[Role | None] = Role.KMS
    slowdown: Slowdown

    @classmethod
    def of(cls, id: str, params: KmsSlowParams, targets: Targets) -> Fault:
        fields = cls.select_targets(params, targets)
        for entry in targets.directory.nodes:
            if entry.by_kmip and entry.node in fields["nodes"]:
                text = f"{entry.node} is asked by KMIP, which takes no service time"
                raise ChaosError("KS-CHAOS-106", f"{text}: link.delay")
        time = ServiceTime(mean_s=params.takes, distribution=params.distribution)
        extra = time if params.takes else None
        slowdown = Slowdown(factor=params.factor, extra=extra, share=params.share)
        return cls(id=id, slowdown=slowdown, **fields)

    def file_fields(self) -> dict[str, Any]:
        slow, fields = self.slowdown, super().file_fields()
        if slow.extra is not None:
            fields |= {
                "takes": format_s(slow.extra.mean_s),
                "distribution": slow.extra.distribution.value,
            }
        return fields | {"factor": slow.factor, "share": slow.share}

    def summary(self) -> str:
        slow = self.slowdown
        how = [f"{slow.factor:g} times its time"] if slow.factor != 1 else []
        how += [] if slow.extra is None else [f"{format_s(slow.extra.mean_s)} more"]
        share = "" if slow.share == 1 else f" for {slow.share:.0%} of requests"
        return f"{names(self.nodes)} takes {' and '.join(how)}{share}"

    def holds(self) -> tuple[str, ...]:
        return tuple(f"speed of {node}" for node in self.nodes)

    async def survey(self, lab: LabUnderTest) -> Notes:
        for node in self.nodes:
            status = await lab.status(node)
            if status.slowdown is not None:
                raise ChaosError("KS-CHAOS-106", f"{node} is slow already")
            if self.slowdown.extra is None and status.service is None:
                text = f"{node} has no service times that a factor could raise: give takes"
                raise ChaosError("KS-CHAOS-106", text)
        return {}

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        await self._set(lab, self.slowdown)

    async def _set(self, lab: LabUnderTest, slowdown: Slowdown | None) -> None:
        await all_of(self.nodes, lambda node: lab.slow(node, slowdown))

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        """Each server works as slowly as it should."""
        return await self._differs(lab, self.slowdown)

    async def _differs(self, lab: LabUnderTest, slowdown: Slowdown | None) -> str:
        for node in self.nodes:
            status = await status_of(lab, node)
            if status is None:
                return f"{node} cannot be asked"
            if status.slowdown != slowdown:
                return f"{node} is {'slow' if status.slowdown else 'not slow'}"
        return ""

    async def heal(self, lab: LabUnderTest, notes: Notes) -> None:
        await self._set(lab, None)

    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        """Each server works as before."""
        return await self._differs(lab, None)
