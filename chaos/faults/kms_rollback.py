"""``kms.rollback``: an older database is put back under a key server, and nobody is told.

The server's anchor lies outside of the database, so it halts with the reason on its screen. The
cure is an administrator's, who accepts the older database: keys made since are gone from it, unless
servers that it replicates with have them.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from chaos.backups import accept, roll_back
from chaos.errors import ChaosError
from chaos.faults.base import Drawn, Fault, Notes, Targets, names, status_of
from chaos.faults.kms_key_state import OLDER_DATABASE
from chaos.faults.power import NodesFault, NodesParams
from chaos.lab import LabUnderTest
from chaos.naming import name_validator
from chaos.oracle.effects import FaultEffect, Takes
from protocol import names as rules
from protocol.errors import ProductError
from protocol.messages.agent import NodeRunState
from protocol.messages.kms import Locate
from protocol.terms import NodeName, Role


class RollbackParams(NodesParams):
    """Which servers, and the backup that was taken of them before: ``backup: monday``."""

    backup: Annotated[str, name_validator(rules.BACKUP)]


class KmsRollback(NodesFault, frozen=True, kw_only=True):
    """Databases of key servers are those of a backup, and everything else on their disks is not."""

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
