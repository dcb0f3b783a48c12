"""A host's connection to its vCenter: the notification that its state has changed, and the session
in which vCenter sends commands. The host's view also reports problems since its boot (core
dumps, a failing TPM) and, if the lab plays a compromised host, VMs that it does not have (C28).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from protocol.errors import NoPermission, ProductError
from protocol.events import EventTypeId
from protocol.messages.base import Request
from protocol.messages.host.session import (
    ClaimedVm,
    Command,
    HostProblem,
    HostSummary,
    OpenSession,
    VmSummary,
)
from protocol.messages.vcenter.inventory import HostChanged
from protocol.terms import (
    CryptoKeyId,
    NodeName,
    PowerState,
    VmConnectionState,
    VmCryptoState,
    VmName,
)
from protocol.tpm.errors import RC_ATTRIBUTES_H1, TpmError, TpmErrorKind
from services.esxi.access import (
    AccessClass,
    Relation,
    RelationPermission,
    Relations,
    kind_of,
    permission_for,
)
from services.esxi.knobs import EsxiNode
from services.runtime.ports import Ports
from services.runtime.service import Peer
from services.runtime.session import SessionGuard

Missing = Callable[[tuple[CryptoKeyId, ...]], tuple[CryptoKeyId, ...]]
"""Returns which of these keys the host lacks."""


def add_claims(view: HostSummary, claims: Sequence[ClaimedVm], missing_of: Missing) -> HostSummary:
    """The host's view with the claimed VMs added, ordered by name, as vCenter gets it."""
    listed = {vm.vm: vm for vm in view.vms} | {
        one.vm: _summarize_claim(one, missing_of) for one in claims
    }
    return msgspec.structs.replace(view, vms=tuple([listed[name] for name in sorted(listed)]))


def _summarize_claim(claimed: ClaimedVm, missing_of: Missing) -> VmSummary:
    missing = missing_of(claimed.keys)
    return VmSummary(
        vm=claimed.vm,
        power=PowerState.OFF,
        crypto=VmCryptoState.LOCKED if missing else VmCryptoState.UNLOCKED,
        connection=VmConnectionState.INVALID if missing else VmConnectionState.CONNECTED,
        keys=claimed.keys,
        missing=missing,
    )


KEPT: Final = 32
"""How many a view has. Earlier ones are lost to a vCenter that was away all the time."""


class ReportedProblems:
    """The problems of one boot of one host, in order of their numbers."""

    def __init__(self) -> None:
        self._latest: list[HostProblem] = []
        self._count = 0
        self._crashes: Counter[VmName | None] = Counter()  # by VM; None: hostd

    @property
    def latest(self) -> tuple[HostProblem, ...]:
        """The latest problems, at most ``KEPT``."""
        return tuple(self._latest)

    def add(
        self,
        event: EventTypeId,
        text: str,
        *,
        vm: VmName | None = None,
        key: CryptoKeyId | None = None,
    ) -> None:
        """Add a problem."""
        self._count += 1
        problem = HostProblem(number=self._count, event=event, text=text, vm=vm, key=key)
        self._latest = [*self._latest, problem][-KEPT:]

    def record_dump(self, path: str, key: CryptoKeyId, vm: VmName | None) -> None:
        """A process crashed; its memory is encrypted at ``path`` (DUMP-02)."""
        crashed = (
            EventTypeId.HOSTD_CORE_DUMPED if vm is None else EventTypeId.APPLICATION_CORE_DUMPED
        )
        self._crashes[vm] += 1
        process = "/bin/hostd" if vm is None else f"/bin/vmx ({vm})"
        text = (
            f"{process} crashed ({self._crashes[vm]} time(s) so far) and an encrypted core file "
            f"using keyId {key} may have been created at {path}"
        )
        self.add(crashed, text, vm=vm, key=key)

    def record_unusable_tpm(self, error: TpmError) -> None:
        """The boot could not use its TPM 2.0: the TPM does not answer, a key of an earlier
        installation is in the way (``TpmAct.OCCUPY``), or it refuses to be provisioned."""
        if error.kind in (TpmErrorKind.GONE, TpmErrorKind.FAILURE):
            event, why = EventTypeId.TPM2_CONNECTION, "a connection cannot be established"
        elif error.rc == RC_ATTRIBUTES_H1:
            event, why = EventTypeId.TPM2_OWNERSHIP, "ownership cannot be acquired: clear the TPM"
        else:
            event, why = EventTypeId.TPM2_PROVISIONING, "it could not be provisioned"
        self.add(event, f"TPM 2.0 device detected but {why} ({error})")


R = TypeVar("R")

_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30.0
_MISSES: Final = 3


class Uplink:
    """The session in force, whether vCenter is connected, and the one ring to it."""

    def __init__(self, node: EsxiNode, ports: Ports, vcenter: NodeName) -> None:
        self._node, self._bus, self._clock = node, ports.bus, ports.clock
        self._choices = ports.rng.stream("uplink")
        self._vcenter = vcenter
        self._of_vsan: frozenset[NodeName] = frozenset()
        self._of_ha: frozenset[NodeName] = frozenset()
        self._relations = Relations(vcenter)
        self._guard = SessionGuard()
        self._last_contact_at = (
            0.0  # lab seconds of the monotonic clock when vCenter was last heard
        )
        self._bell = asyncio.Lock()
        self._rings = 0  # rings requested in this life
        self._answered = 0  # of these, how many the last request covers
        self._taken = False  # whether vCenter accepted that request

    @property
    def session(self) -> str:
        """The session in force; empty when vCenter has opened none in this life."""
        return self._guard.session

    @property
    def connected(self) -> bool:
        """Whether a session is in force and vCenter was heard within three heartbeats."""
        return bool(self.session) and self._seconds_left() >= 0

    def _seconds_left(self) -> float:
        """How long vCenter may still be silent; negative when it was silent for too long."""
        limit_s = _MISSES * self._node.knobs.heartbeat_s
        return self._last_contact_at + limit_s - self._clock.monotonic()

    def set_neighbours(self, hosts: Iterable[NodeName]) -> None:
        """Set the hosts of its vSAN, which may request replicas from now on."""
        self._of_vsan = frozenset(hosts) - {self._node.name}
        self._update_relations()

    def _update_relations(self) -> None:
        peers = self._of_vsan | self._of_ha
        self._relations = Relations(self._vcenter, cluster_peers=peers)

    def admit(self, message: Request[Any], peer: Peer) -> None:
        """Judge a message in order of arrival, by the table of ``access``.

        ``NoPermission`` when its sender may not send it, ``NotConnected`` for a command of an old
        session or number. The administrator at the host itself needs no session.
        """
        relation = self._relations.of(peer.node, local=peer.local)
        allowed = permission_for(kind_of(message), relation)
        if allowed is RelationPermission.REFUSED:
            raise NoPermission(_describe_refusal(message, relation, peer.node))
        if relation is not Relation.VCENTER:
            return
        match message:
            case OpenSession():
                self._guard.open(message, peer.node)
            case Command() if allowed is RelationPermission.IN_SESSION:
                self._guard.admit(message, peer.node)
            case _:
                pass
        self._last_contact_at = self._clock.monotonic()

    async def keep_connected(self) -> None:
        """For the rest of this life: while vCenter is not connected, ring until it is.

        The pauses between rings grow from one lab second to thirty. A silence is noticed within one
        lab second, at a moment that differs between hosts.
        """
        if not self._vcenter:
            return
        pause_s = _FIRST_PAUSE_S
        while True:
            if self.connected:
                pause_s = _FIRST_PAUSE_S
                await self._clock.sleep(self._seconds_left() + self._choices.uniform(0.01, 1.0))
                continue
            await self.ring()
            await self._clock.sleep(pause_s * (0.5 + self._choices.random()))
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def set_peers(self, hosts: Iterable[NodeName]) -> None:
        """Set the hosts of its cluster, which may send to this one from now on."""
        self._of_ha = frozenset(hosts) - {self._node.name}
        self._update_relations()

    async def send(self, message: Request[R]) -> R:
        """Send a request to vCenter; raises the errors of the bus and of vCenter."""
        within_s = self._node.knobs.request_timeout_s
        return await self._bus.request(self._vcenter, message, within_s=within_s)

    async def ring(self) -> bool:
        """Have vCenter look at this host soon; returns whether it accepted the ring.

        One request is in flight at a time. All callers meanwhile share the next one, because
        vCenter may have looked before their change. vCenter's heartbeat makes up for a lost ring a
        little later.
        """
        self._rings += 1
        mine = self._rings
        async with self._bell:
            if self._answered < mine:
                covers = self._rings
                self._taken = await self._send_rings()
                self._answered = covers
            return self._taken

    async def _send_rings(self) -> bool:
        message = HostChanged(boot=self._node.boot)
        try:
            await self._bus.request(
                self._vcenter, message, within_s=self._node.knobs.request_timeout_s
            )
        except ProductError as error:
            self._node.record(
                "uplink.failed",
                level="warning",
                request=type(message).__name__,
                error=type(error).__name__,
            )
            return False
        return True


def _describe_refusal(message: Request[Any], relation: Relation, sender: NodeName) -> str:
    if kind_of(message) is AccessClass.MIGRATION:
        return f"{type(message).__name__} comes from the host that a VM leaves"
    if relation is Relation.VCENTER:
        return f"{type(message).__name__} is for the host's own console"
    if relation is Relation.STRANGER:
        return f"{sender} is not the vCenter of this host"
    return f"{sender}, {relation.value}, may not send {type(message).__name__} to this host"
