"""``kms.reject``: key servers answer chosen operations with a refusal, with a chosen reason.

So answers a server whose hardware module releases no key (SC-09), whose client is over its quota,
or which does not take who asks for whom it is. It runs, and its store is sound. What is left out
means: operations that need the material of a key, with General Failure, always, of any key.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.faults.base import Drawn, Fault, Notes, Params, Targets, all_of, names, running
from chaos.faults.kms_key_state import attributes
from chaos.faults.power import NodesFault, NodesParams, some_of
from chaos.lab import Directory, LabUnderTest
from chaos.observe.listing import all_vms
from chaos.oracle.effects import FaultEffect, Takes
from chaos.units import Share
from protocol.messages.kms import (
    OF_MATERIAL,
    REJECTABLE,
    REJECTION_REASONS,
    EndRejection,
    QueryRejections,
    Rejected,
    RejectRequests,
)
from protocol.terms import KeyId, NodeName, ResultReason, Role, VmName


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
