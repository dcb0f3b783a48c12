"""The TPM under each host at its boots, read in the lab's process, not from the host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chaos.history import History
from chaos.lab import REFUSALS, LabUnderTest
from chaos.observe.look import LabLook
from protocol.messages.agent import NodeRunState, NodeStatus, TpmAct, TpmActed, TpmBackend
from protocol.terms import NodeName, ProtectionMode, Role
from services.runtime.each import try_each

OP = "tpm"
"""Of its ``state`` records, one for each boot of a host with a TPM: ``boot``, ``serves`` (the
host's boot went past the point where its configuration is opened), ``ek`` (which TPM it is: the
number under which its endorsement key was first seen, since keys are random), ``pcrs`` (as they
were measured), ``tries`` of ``most`` failed authorizations, ``lockout``."""
SEALED = "protection"
"""Of the ``state`` records that tell of each host whether its configuration is ``sealed``."""
_SETTLED = (NodeRunState.RUNNING, NodeRunState.HALTED)


@dataclass
class Tpms:
    """Call ``look`` each second with the agents' reports; ``boots`` are those recorded so far."""

    lab: LabUnderTest
    history: History
    boots: dict[NodeName, int] = field(default_factory=dict)
    _seen: dict[str, int] = field(default_factory=dict)

    async def begin(self) -> None:
        """Record each host's TPM, and which configurations are sealed by it."""
        for host, summary in (await LabLook(self.lab).hosts()).items():
            sealed = summary.protection_mode is ProtectionMode.TPM
            self.history.add("state", host, op=SEALED, sealed=sealed)
        await self.look(await self.lab.statuses(counters=False))

    async def look(self, seen: Mapping[NodeName, NodeStatus]) -> None:
        """Record the TPM of each host whose boot has ended since the last look."""
        settled = [
            status
            for node, status in seen.items()
            if status.role is Role.ESXI
            and status.tpm is not TpmBackend.NONE
            and status.state in _SETTLED
            and self.boots.get(node) != status.boot
        ]
        answers = await try_each(settled, self._read, failures=REFUSALS)
        for status, found in zip(settled, answers, strict=True):
            if isinstance(found, TpmActed) and found.info is not None:
                self.boots[status.node] = status.boot
                self._write(status, found)

    async def _read(self, status: NodeStatus) -> TpmActed:
        return await self.lab.tpm(status.node, TpmAct.INFO)

    def _write(self, status: NodeStatus, found: TpmActed) -> None:
        if found.info is None:
            return
        self.history.add(
            "state",
            status.node,
            op=OP,
            boot=status.boot,
            serves=status.state is NodeRunState.RUNNING,
            ek=self._seen.setdefault(found.ek, len(self._seen) + 1),
            pcrs={str(number): value.hex() for number, value in sorted(found.pcrs.items())},
            tries=found.info.lockout_counter,
            most=found.info.max_tries,
            lockout=found.info.lockout,
        )
