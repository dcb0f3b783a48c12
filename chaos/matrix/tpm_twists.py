"""The row outside of the grid about a provider that requires a TPM, and a host that has none.

Each cluster has one such host, the last (NKP-12): it is told of the provider, gets no key
derivation key, and is not crypto-safe; what it refuses for that it refuses for ever, and nothing is
locked by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from chaos.matrix import native, setup
from chaos.matrix.events import EVENTS
from chaos.matrix.scene import P, StagingScene, cluster_of
from chaos.matrix.terms import Actor, VmKind
from chaos.matrix.twist import Twist
from chaos.oracle.terms import TableEvent
from protocol.messages.host import QueryHost
from protocol.terms import HostCryptoState, NodeName, VmCryptoState

SAID = "native.tpm_required"
"""The line in the log of a host that takes no part."""
DEVICE = "requires a TPM 2.0 device"


class OthersTakePart(Twist):
    """A host more in each cluster, which is left out: the others have what they have without it."""

    spare = 1
    tpm_required: ClassVar[bool] = True
    hosts: Mapping[str, object] = MappingProxyType({"without_tpm": 1})

    async def find_deviation(self, scene: StagingScene) -> str:
        """Every host without a TPM is left out, by what lies on it and by what it says."""
        for host in sorted(scene.left_out):
            if wrong := await _takes_part(scene, host):
                return f"{host}: {wrong}"
        return ""


class TargetLeftOut(OthersTakePart):
    """The host that is to take over a VM is one of these."""

    spare = 0

    def over(self, found: str) -> str:
        """Nothing that ends makes it take part."""
        if DEVICE in found:
            return ""
        return found or "what was refused for lack of a TPM is done"


class HostLeftOut(TargetLeftOut):
    """Something new is to be encrypted on one of these: the VM in clear lives there."""

    spare = 1

    async def prepare(self, scene: StagingScene) -> str:
        for event in scene.casts:
            await self.recast(scene, event)
        return ""

    async def recast(self, scene: StagingScene, event: TableEvent) -> None:
        """The host that is left out plays A, which the event is about."""
        play, host = EVENTS[event], _host_without_tpm(scene, event)
        for wanted in play.list_needed_vms(scene.block):
            if wanted.actor is Actor.A and self.moves(wanted.kind, judged=wanted.judged):
                await setup.make_in_clear(scene, play, wanted, host)
        scene.casts[event] = {**scene.casts[event], Actor.A: host}

    @staticmethod
    def moves(kind: VmKind, *, judged: bool) -> bool:
        """Whether a VM of A is made anew on the other host."""
        return kind is VmKind.CLEAR


class ClearOnLeftOut(HostLeftOut):
    """What is judged is made anew there without encryption: it misses nothing (BOOT-01)."""

    @staticmethod
    def moves(kind: VmKind, *, judged: bool) -> bool:
        return judged

    def over(self, found: str) -> str:
        return found


def _host_without_tpm(scene: StagingScene, event: TableEvent) -> NodeName:
    """The host of the event's cluster that has no TPM."""
    nodes = scene.lab.directory().nodes
    mine = (one.node for one in nodes if one.cluster == cluster_of(event))
    return next(host for host in mine if host in scene.left_out)


async def _takes_part(scene: StagingScene, host: NodeName) -> str:
    """Empty when the host is not safe, has no KDK of P in its memory or on its disk, locks no VM,
    and has told of the TPM that it lacks."""
    view = (await scene.lab.ask(host, QueryHost())).summary
    if view.crypto_state is not HostCryptoState.PREPARED:
        return f"without the TPM that {P} requires it is {view.crypto_state.value}"
    if locked := [one.vm for one in view.vms if one.crypto is VmCryptoState.LOCKED]:
        return f"it has locked {', '.join(locked)}"
    if (has := await native.kdk_at(scene, host, P)) != native.ABSENT:
        return f"the key derivation key of {P}: {has}"
    if P in await scene.bench.read_archived_kdks(host):
        return f"the key derivation key of {P} is in its archive"
    told = (one for one in scene.bench.records() if one.node == host and one.kind == SAID)
    named = any(DEVICE in str(one.fields.get("reason")) for one in told)
    return "" if named else "its log does not say that it lacks a TPM 2.0 device"
