"""Faults of key servers: failover, an older store put back, ``kms.reject`` (chosen operations are
refused with a chosen reason), and ``kms.slow`` (answers take longer).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from chaos.administration import accept, roll_back
from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.faults.base import (
    Drawn,
    Fault,
    Notes,
    Params,
    Targets,
    all_of,
    names,
    running,
    status_of,
)
from chaos.faults.keys import OLDER_DATABASE, attributes
from chaos.faults.nodes import NodesFault, NodesParams, some_of
from chaos.fields import Seconds, Share, format_s, name_validator
from chaos.lab import Directory, LabUnderTest
from chaos.observe.look import all_vms
from chaos.oracle.effects import NOTHING, FaultEffect, Takes
from protocol import names as rules
from protocol.errors import ProductError
from protocol.messages.agent import Distribution, NodeRunState, ServiceTime, Slowdown
from protocol.messages.kms.administration import (
    OF_MATERIAL,
    REJECTABLE,
    REJECTION_REASONS,
    EndRejection,
    QueryRejections,
    Rejected,
    RejectRequests,
)
from protocol.messages.kms.keys import Locate
from protocol.messages.kms.replication import MakeActive, QueryGroup
from protocol.terms import KeyId, NodeName, ResultReason, Role, VmName

# Kms failover ---------------------------------------------------------------------------------
#
# ``kms.failover``: the operator has another key server take the changes (mode ``forward``).
#
# The server that took them hears of it when the two reach each other. Cut off, it goes on, and
# there are two for a while.


class FailoverParams(Params):
    """The server that shall take changes: ``to: kms-2``."""

    to: str


class KmsFailover(Fault, frozen=True, kw_only=True):
    """Another key server of the group is active; at the end the earlier one is again."""

    kind: ClassVar[str] = "kms.failover"
    example: ClassVar[str] = "to: kms"
    effect: ClassVar[FaultEffect] = NOTHING
    drawn: ClassVar[Drawn] = Drawn.ACTIVE_SERVER
    params: ClassVar[type[Params]] = FailoverParams
    to: NodeName

    @classmethod
    def of(cls, id: str, params: FailoverParams, targets: Targets) -> Fault:
        found = targets.nodes(params.to, Role.KMS)
        if len(found) != 1:
            raise ChaosError("KS-CHAOS-004", f"{params.to} is not one key server")
        return cls(id=id, to=found[0])

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        there = [entry.node for entry in directory.nodes if entry.replication == "forward"]
        return {"to": str(there[draws.below(len(there))])} if there else None

    def file_fields(self) -> dict[str, Any]:
        return {"to": str(self.to)}

    def touches(self) -> tuple[NodeName, ...]:
        return (self.to,)

    def summary(self) -> str:
        return f"{self.to} takes the changes"

    def holds(self) -> tuple[str, ...]:
        return ("which key server is active",)

    async def survey(self, lab: LabUnderTest) -> Notes:
        """``before``: who took the changes."""
        active = (await lab.ask(self.to, QueryGroup())).active
        if active is None:
            text = f"{self.to} is in no group with an active server (replication: forward)"
            raise ChaosError("KS-CHAOS-106", text)
        if active == self.to:
            raise ChaosError("KS-CHAOS-106", f"{self.to} is active already")
        return {"before": str(active)}

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        await lab.ask(self.to, MakeActive())

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        """By its own word, it takes the changes."""
        active = (await lab.ask(self.to, QueryGroup())).active
        return "" if active == self.to else f"{self.to} has {active} as active"

    async def heal(self, lab: LabUnderTest, notes: Notes) -> None:
        before = NodeName(notes["before"])
        if await running(lab, before):
            await lab.ask(before, MakeActive())

    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        """The earlier one takes the changes by its own word, and that of the other."""
        before = NodeName(notes["before"])
        for server in (before, self.to):
            if not await running(lab, server):
                return f"{server} is off, so it cannot be asked who is active"
            active = (await lab.ask(server, QueryGroup())).active
            if active != before:
                return f"{server} has {active} as active"
        return ""


# Kms rollback ---------------------------------------------------------------------------------
#
# ``kms.rollback``: an older database is put back under a key server, and nobody is told.
#
# The server's anchor lies outside of the database, so it halts with the reason on its screen. The
# cure is an administrator's, who accepts the older database: keys made since are gone from it,
# unless servers that it replicates with have them.


class RollbackParams(NodesParams):
    """Which servers, and the backup that was taken of them before: ``backup: monday``."""

    backup: Annotated[str, name_validator(rules.BACKUP)]


class KmsRollback(NodesFault, frozen=True, kw_only=True):
    """Databases of key servers are restored from a backup; the other files on their disks stay."""

    kind: ClassVar[str] = "kms.rollback"
    example: ClassVar[str] = "on: kms, backup: monday"
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.NEWER_KEYS,))
    drawn: ClassVar[Drawn] = Drawn.NEVER
    undrawn: ClassVar[str] = OLDER_DATABASE
    params: ClassVar[type] = RollbackParams
    role: ClassVar[Role | None] = Role.KMS
    reversible: ClassVar[bool] = False
    backup: str

    def file_fields(self) -> dict[str, Any]:
        return super().file_fields() | {"backup": self.backup}

    def summary(self) -> str:
        return f"database of {names(self.nodes)} as of the backup {self.backup}"

    def holds(self) -> tuple[str, ...]:
        return tuple(f"database of {node}" for node in self.nodes)

    async def survey(self, lab: LabUnderTest) -> Notes:
        """``keys``: how many each server has."""
        counts: dict[str, int] = {}
        for node in self.nodes:
            status = await status_of(lab, node)
            if status is None or status.state is not NodeRunState.RUNNING:
                raise ChaosError("KS-CHAOS-106", f"{node} does not run")
            counts[str(node)] = (await lab.ask(node, Locate(limit=1))).total
        return {"keys": counts}

    def history_fields(self, notes: Notes) -> dict[str, Any]:
        """``restores``: whose newer keys may be lost."""
        return {"restores": list(map(str, self.nodes))}

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        await roll_back(lab, self.nodes, self.backup)

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        """Each has halted, or serves and lacks keys that it had."""
        for node in self.nodes:
            status = await status_of(lab, node)
            if status is None:
                return f"{node} cannot be asked"
            if status.state is NodeRunState.HALTED:
                continue
            if (await lab.ask(node, Locate(limit=1))).total >= notes["keys"][str(node)]:
                return f"{node} serves, and has all the keys that it had"
        return ""

    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        for node in self.nodes:
            status = await status_of(lab, node)
            if status is None or status.state is not NodeRunState.RUNNING:
                return f"{node} does not serve"
        return ""

    def cure_text(self) -> str:
        return (
            f"put the last disk of {names(self.nodes)} back, or have it serve from the older "
            "database: host power-on with --accept-rollback"
        )

    async def cure(self, lab: LabUnderTest, notes: Notes) -> None:
        try:
            await accept(lab, map(NodeName, self.nodes))
        except ProductError as error:
            raise ChaosError("KS-CHAOS-107", f"{type(error).__name__}: {error}") from error


class RejectParams(NodesParams):
    """Which key servers (``on``); ``operations`` and ``reason`` by KMIP's names.

    ``p``: the share of what is asked that is rejected, drawn by the server, above 0. ``keys`` (by
    their ids) or ``vm`` (its keys): nothing else is rejected then. ``unknown_keys``: some of
    ``keys`` may be at none of these servers (yet); else that is taken for a slip.
    """

    operations: str | list[str] = Field(default_factory=lambda: list(OF_MATERIAL))
    reason: str = ResultReason.GENERAL_FAILURE.value
    p: Annotated[Share, Field(gt=0)] = 1.0
    keys: list[str] | None = None
    vm: str | list[str] | None = None
    unknown_keys: bool = False

    @model_validator(mode="after")
    def _check_fields(self) -> RejectParams:
        for one in self.chosen:
            _check_known("operation", one, REJECTABLE)
        _check_known("reason", self.reason, [reason.value for reason in REJECTION_REASONS])
        if not self.chosen:
            raise ValueError("operations: there is none")
        if self.keys is not None and self.vm is not None:
            raise ValueError("give keys or vm, not both")
        if self.keys == []:
            raise ValueError("keys: there is none; leave it out to reject any key")
        if self.unknown_keys and self.keys is None:
            raise ValueError("unknown_keys is about keys, and there are none")
        return self

    @property
    def chosen(self) -> tuple[str, ...]:
        """The operations, one or several."""
        given = [self.operations] if isinstance(self.operations, str) else self.operations
        return tuple(one for one in REJECTABLE if one in given) + tuple(
            one for one in given if one not in REJECTABLE
        )


def _check_known(what: str, name: str, all_names: Sequence[str]) -> None:
    if name in all_names:
        return
    near = difflib.get_close_matches(name.title(), all_names, n=3, cutoff=0.5)
    there = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(all_names)}"
    raise ValueError(f"no {what} {name!r}; {there}")


class KmsReject(NodesFault, frozen=True, kw_only=True):
    """Key servers refuse the requests of clients."""

    kind: ClassVar[str] = "kms.reject"
    example: ClassVar[str] = "on: kms, operations: [Get], reason: Permission Denied, p: 50%"
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.ANSWERS,), share="p")
    drawn: ClassVar[Drawn] = Drawn.AT_TIMES
    params: ClassVar[type[Params]] = RejectParams
    role: ClassVar[Role | None] = Role.KMS
    operations: tuple[str, ...]
    reason: str
    p: float
    keys: tuple[KeyId, ...] = ()
    unknown_keys: bool = False
    vms: tuple[VmName, ...] = ()
    vcenters: tuple[NodeName, ...] = ()

    @classmethod
    def of(cls, id: str, params: RejectParams, targets: Targets) -> Fault:
        return cls(
            id=id,
            **cls.select_targets(params, targets),
            operations=params.chosen,
            reason=params.reason,
            p=params.p,
            keys=tuple(KeyId(key) for key in params.keys or ()),
            unknown_keys=params.unknown_keys,
            vms=() if params.vm is None else targets.vms(params.vm),
            vcenters=targets.of_role(Role.VCENTER),
        )

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        where = some_of(draws, directory, (Role.KMS,))
        if where is None:
            return None
        some = draws.pick(OF_MATERIAL, 1 + draws.below(len(OF_MATERIAL)))
        p = 1.0 if draws.unit() < 0.5 else round(0.1 + 0.8 * draws.unit(), 3)
        reason = REJECTION_REASONS[draws.below(len(REJECTION_REASONS))]
        return where | {"operations": list(some), "reason": reason.value, "p": p}

    def file_fields(self) -> dict[str, Any]:
        about: dict[str, Any] = {"keys": list(self.keys)} if self.keys else {}
        if self.unknown_keys:
            about["unknown_keys"] = True
        if self.vms:
            about = {"vm": list(map(str, self.vms))}
        return (
            super().file_fields()
            | {"operations": list(self.operations), "reason": self.reason, "p": self.p}
            | about
        )

    def summary(self) -> str:
        often = "" if self.p >= 1 else f" {self.p:.1%} of"
        whose = [*self.vms, *self.keys]
        about = f" of {', '.join(whose)}" if whose else ""
        return (
            f"{names(self.nodes)} rejects{often} {', '.join(self.operations)}{about}: {self.reason}"
        )

    async def survey(self, lab: LabUnderTest) -> Notes:
        """``keys``: those that it is about; none for any. All its servers run."""
        for server in self.nodes:
            if not await running(lab, server):
                raise ChaosError("KS-CHAOS-106", f"{server} does not run")
        if not self.unknown_keys:
            await self._check_keys_exist(lab)
        wanted: dict[str, None] = dict.fromkeys(self.keys)
        for vcenter in self.vcenters if self.vms else ():
            for vm in await all_vms(lab, vcenter):
                if vm.vm in self.vms and vm.key is not None:
                    wanted[str(vm.key.key_id)] = None
        if self.vms and not wanted:
            raise ChaosError("KS-CHAOS-106", f"{', '.join(self.vms)} have no key")
        return {"keys": list(wanted)}

    async def _check_keys_exist(self, lab: LabUnderTest) -> None:
        """``ChaosError`` when one of ``keys`` is at none of these servers."""
        there = {
            key.key_id for server in self.nodes for key in await attributes(lab, server, self.keys)
        }
        strange = [key for key in self.keys if key not in there]
        if strange:
            raise ChaosError(
                "KS-CHAOS-106",
                f"{names(self.nodes)} has no key {', '.join(strange)}; `keystead get keys` lists "
                "those there are, and `unknown_keys: true` rejects keys that are still to come",
            )

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        message = RejectRequests(
            name=self.id,
            reason=self.reason,
            operations=self.operations,
            keys=tuple(map(KeyId, notes["keys"])),
            probability=self.p,
        )

        await all_of(self.nodes, lambda server: lab.ask(server, message))

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        """By its own word, each server rejects what it was told to, and as often."""
        for server in self.nodes:
            found = await self._find_rejection(lab, server)
            if found is None:
                return f"{server} rejects nothing of it"
            told = (set(found.operations), found.reason, found.probability, set(found.keys))
            if told != (set(self.operations), self.reason, self.p, set(notes["keys"])):
                return f"{server} rejects {', '.join(found.operations)}: {found.reason}"
        return ""

    async def heal(self, lab: LabUnderTest, notes: Notes) -> None:
        """One that is off is left as it is, and so unhealed: its database remembers."""

        async def one(server: NodeName) -> None:
            if await running(lab, server):
                await lab.ask(server, EndRejection(name=self.id))

        await all_of(self.nodes, one)

    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        for server in self.nodes:
            if not await running(lab, server):
                return f"{server} does not run, so it cannot be asked what it rejects"
            if await self._find_rejection(lab, server) is not None:
                return f"{server} rejects it still"
        return ""

    async def _find_rejection(self, lab: LabUnderTest, server: NodeName) -> Rejected | None:
        items = (await lab.ask(server, QueryRejections())).items
        return next((one for one in items if one.name == self.id), None)


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
