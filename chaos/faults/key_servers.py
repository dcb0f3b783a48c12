"""Faults of key servers: failover, and an older store put back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from chaos.backups import accept, roll_back
from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.faults.base import Drawn, Fault, Notes, Params, Targets, names, running, status_of
from chaos.faults.kms_key_state import OLDER_DATABASE
from chaos.faults.power import NodesFault, NodesParams
from chaos.lab import Directory, LabUnderTest
from chaos.naming import name_validator
from chaos.oracle.effects import NOTHING, FaultEffect, Takes
from protocol import names as rules
from protocol.errors import ProductError
from protocol.messages.agent import NodeRunState
from protocol.messages.kms import Locate, MakeActive, QueryGroup
from protocol.terms import NodeName, Role

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

    @classmethod
    def of(cls, id: str, params: RollbackParams, targets: Targets) -> Fault:
        return cls(id=id, backup=params.backup, **cls.select_targets(params, targets))

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
