"""What is different in the lab of a row outside of the grid.

Adding one: its class, and a line in the table here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from chaos.administration import take_backup
from chaos.faults.links import Direction, LinkCutFault, LinkDelayFault
from chaos.faults.nodes import SitePowerLoss
from chaos.matrix import clock, provider_setup
from chaos.matrix.faults import StagedFault
from chaos.matrix.faults.outages import KeyServersAway, NothingWrong
from chaos.matrix.scene import SERVERS_OF_P, P, StagingScene
from chaos.matrix.stored import DISABLE, ENABLE, REMOVE, is_off
from chaos.matrix.terms import Actor
from chaos.matrix.twist import (
    Beside,
    ClearOnLeftOut,
    DiskKeyDestroyed,
    HostApart,
    HostLeftOut,
    HourlySaves,
    ImmediateSaves,
    InClear,
    KeysOfTwo,
    LateKey,
    OthersGoOn,
    OthersTakePart,
    TargetLeftOut,
    TargetWasOff,
    Twist,
)
from chaos.matrix.vsan import kms_connection
from chaos.observe.look import all_events, all_providers
from chaos.oracle.terms import TableEvent
from protocol.events import EventTypeId
from protocol.messages.host.session import Esxcli
from protocol.messages.vcenter.providers import CreateNativeProvider, ProviderInfo
from protocol.terms import NodeName, ProviderHealth, ProviderId
from protocol.trust import TrustAttestationStatus as Status

UNBACKED: Final = ProviderId("R")
NOT_BACKED_UP: Final = "com.vmware.vim.vpxd.encryption.keyProviderNotBackedUp"
SLOW_S: Final = 2.0


class _OnHosts(Twist, ABC):
    """Something that the administrator of each host does."""

    async def prepare(self, scene: StagingScene) -> str:
        for host in scene.hosts():
            if wrong := await self.on(scene, host):
                return f"{host}: {wrong}"
        return ""

    @abstractmethod
    async def on(self, scene: StagingScene, host: NodeName) -> str:
        """Do it: empty, or what was not as the row says."""


class EnableRefused(_OnHosts):
    """Key persistence is asked for, and refused for lack of a TPM."""

    async def on(self, scene: StagingScene, host: NodeName) -> str:
        done = await scene.lab.ask(host, Esxcli(arguments=ENABLE))
        off, shown = await is_off(scene, host)
        if done.exit_code and "TPM" in done.output and off:
            return ""
        return f"exit code {done.exit_code}: {done.output.strip()}; {shown}"


class StoreRemoved(_OnHosts):
    """Key persistence is disabled, and stored keys are removed: none is in the archive."""

    async def on(self, scene: StagingScene, host: NodeName) -> str:
        return await _disable_persistence(scene, host, REMOVE) or await _verify_stored(
            scene, host, False
        )


class StoreUnused(_OnHosts):
    """Key persistence is disabled; stored keys stay in the archive, also while the fault holds."""

    async def on(self, scene: StagingScene, host: NodeName) -> str:
        return await _disable_persistence(scene, host, DISABLE) or await _verify_stored(
            scene, host, True
        )


class StoreUsedAgain(StoreUnused):
    """The same, and then it is enabled again: what is in the store is used."""

    async def on(self, scene: StagingScene, host: NodeName) -> str:
        if wrong := await super().on(scene, host):
            return wrong
        done = await scene.lab.ask(host, Esxcli(arguments=ENABLE))
        return done.output.strip() if done.exit_code else ""


async def _disable_persistence(scene: StagingScene, host: NodeName, line: tuple[str, ...]) -> str:
    done = await scene.lab.ask(host, Esxcli(arguments=line))
    off, shown = await is_off(scene, host)
    return "" if not done.exit_code and off else f"{done.output.strip()}; {shown}"


async def _verify_stored(scene: StagingScene, host: NodeName, wanted: bool) -> str:
    found = len(await scene.bench.read_archived_keys(host))
    return "" if bool(found) is wanted else f"{found} keys are in its archive"


class OneServerOff(Twist):
    """One of two key servers loses its power: vCenter says which, and P is not red (STD-08)."""

    def fault(self, scene: StagingScene) -> StagedFault | None:
        off = SitePowerLoss(id="X09", nodes=SERVERS_OF_P[:1], sites=("k1",))
        return Beside(scene, off)

    async def find_deviation(self, scene: StagingScene) -> str:
        await scene.until(clock.SETTLED_S)
        found = await _provider(scene, P)
        if found is None or found.status != "yellow":
            return f"{P} shows as {None if found is None else found.status}"
        down = [one.name for one in found.contacts if one.status == "red"]
        return "" if down == [str(SERVERS_OF_P[0])] else f"vCenter tells that {down} are down"


class SlowServers(Twist):
    """What key servers of P answer is late, by less than vCenter waits."""

    def fault(self, scene: StagingScene) -> StagedFault | None:
        late = LinkDelayFault(
            id="X19", a=SERVERS_OF_P, b=(scene.vcenter,), dir=Direction.TO, base=SLOW_S
        )
        return Beside(scene, late)


class NotBackedUp(Twist):
    """A native provider that was never exported, which a new VM names (NKP-05)."""

    def fault(self, scene: StagingScene) -> StagedFault | None:
        scene.provider_of_new = UNBACKED
        return _Unbacked(scene)


class _Unbacked(NothingWrong):
    async def begin(self) -> None:
        await self.scene.lab.ask(self.scene.vcenter, CreateNativeProvider(provider=UNBACKED))
        self.write("fault", self.scene.vcenter, "made, not backed up", provider=UNBACKED)

    async def bites(self) -> str:
        found = await _provider(self.scene, UNBACKED)
        wrong = found is None or found.health is not ProviderHealth.ERROR
        if found is None or wrong or NOT_BACKED_UP not in found.details:
            return f"{UNBACKED} shows as {None if found is None else found.health}"
        return ""

    async def end(self) -> None:
        await take_backup(self.scene.lab, self.scene.vcenter, UNBACKED)
        self.write("heal", self.scene.vcenter, "backed up", provider=UNBACKED)

    async def verify_heal(self) -> str:
        events = await all_events(self.scene.lab, self.scene.vcenter, after=self.scene.first_event)
        told = [one.event for one in events if one.provider == UNBACKED]
        if told != [EventTypeId.KMS_NOT_BACKED_UP, EventTypeId.KMS_ALL_BACKED_UP]:
            return f"vCenter told of {UNBACKED}: {', '.join(told)}"
        found = await _provider(self.scene, UNBACKED)
        well = found is not None and found.health is ProviderHealth.OK
        return "" if well else f"{UNBACKED} is not well"


class HostsOf(Twist):
    """Hosts of another release: up to 7.0 U2, persistence leaves out what vSAN needs (KP-08)."""

    def __init__(self, version: str) -> None:
        self.hosts = {"version": version}


class VcenterCutOff(Twist):
    """vCenter reaches no key server, and hosts that ask one themselves do."""

    def fault(self, scene: StagingScene) -> StagedFault | None:
        return _OfVcenterOnly(scene)

    async def find_deviation(self, scene: StagingScene) -> str:
        return await _verify_connections(scene, vcenter=0, hosts=2, host_b=2)


class _OfVcenterOnly(KeyServersAway):
    @staticmethod
    def clients(scene: StagingScene) -> tuple[NodeName, ...]:
        return (scene.vcenter,)


class HostCutOff(Twist):
    """A host with an encrypted vSAN reaches no key server, and all others do, vCenter among them:
    the firewall rule that was forgotten. Without a vSAN, no host reaches one, and misses nothing.
    """

    def fault(self, scene: StagingScene) -> StagedFault | None:
        hosts = scene.vsan_hosts[:1] or scene.hosts()
        return Beside(scene, LinkCutFault(id="X15", a=hosts, b=SERVERS_OF_P))

    async def find_deviation(self, scene: StagingScene) -> str:
        return await _verify_connections(scene, vcenter=2, hosts=2, host_b=0)


async def _verify_connections(scene: StagingScene, *, vcenter: int, hosts: int, host_b: int) -> str:
    """Empty when ``kmsconnection`` of vSAN health shows these numbers of key servers, if there is a
    vSAN: of vCenter, of B, of the other hosts."""
    if not scene.vsan_hosts:
        return ""
    shown = await kms_connection(scene)
    told = {"vcenter": vcenter, **{str(host): hosts for host in scene.vsan_hosts}}
    told[str(scene.vsan_hosts[0])] = host_b
    wanted = {f"{node}: {count} of 2 key servers" for node, count in told.items()}
    return "" if set(shown) == wanted else f"kmsconnection: {'; '.join(shown) or 'nothing'}"


class OneAuthorityHostOff(Twist):
    """Of two hosts of the Trust Authority one loses its power: the other serves (TA-09, KPS-06)."""

    def fault(self, scene: StagingScene) -> StagedFault | None:
        gone = (scene.attesters[0], scene.key_services[0])
        return Beside(scene, SitePowerLoss(id="X10", nodes=gone, sites=("one",)))


class NoKeyProviderService(Twist):
    """Every Key Provider Service is off, and hosts are attested all the same."""

    def fault(self, scene: StagingScene) -> StagedFault | None:
        gone = scene.key_services
        return Beside(scene, SitePowerLoss(id="X11", nodes=gone, sites=("kps",)))

    async def find_deviation(self, scene: StagingScene) -> str:
        """The host that has booted is attested, for vCenter too."""
        host = scene.host(TableEvent.E4, Actor.B)
        found = await provider_setup.find_trusted_host(scene, host)
        status = None if found is None else provider_setup.status_of(found.reports)
        return "" if status is Status.ATTESTED else f"{host} shows as {status}"


class NoAttestationService(Twist):
    """Every Attestation Service is off; every host has attested shortly before."""

    async def prepare(self, scene: StagingScene) -> str:
        for host in scene.hosts():
            if (status := await provider_setup.attest(scene, host)) is not Status.ATTESTED:
                return f"{host} is {status.value}"
        return ""

    def fault(self, scene: StagingScene) -> StagedFault | None:
        gone = scene.attesters
        return Beside(scene, SitePowerLoss(id="X12", nodes=gone, sites=("as",)))


async def _provider(scene: StagingScene, name: ProviderId) -> ProviderInfo | None:
    listed = await all_providers(scene.lab, scene.vcenter)
    return next((one for one in listed if one.provider == name), None)


TWISTS: Final[Mapping[str, Twist]] = MappingProxyType(
    {
        "": Twist(),
        "enable-refused": EnableRefused(),
        "store-removed": StoreRemoved(),
        "store-unused": StoreUnused(),
        "store-used-again": StoreUsedAgain(),
        "one-server-off": OneServerOff(),
        "slow-servers": SlowServers(),
        "not-backed-up": NotBackedUp(),
        "hosts-7.0U2": HostsOf("7.0U2"),
        "hosts-7.0U3": HostsOf("7.0U3"),
        "vcenter-cut-off": VcenterCutOff(),
        "host-cut-off": HostCutOff(),
        "one-authority-host-off": OneAuthorityHostOff(),
        "no-key-provider": NoKeyProviderService(),
        "no-attestation": NoAttestationService(),
        "target-was-off": TargetWasOff(),
        "hourly-saves": HourlySaves(),
        "immediate-saves": ImmediateSaves(),
        "late-key": LateKey(),
        "host-apart": HostApart(),
        "others-go-on": OthersGoOn(),
        "in-clear": InClear(),
        "keys-of-two": KeysOfTwo(),
        "disk-key-destroyed": DiskKeyDestroyed(),
        "others-take-part": OthersTakePart(),
        "target-left-out": TargetLeftOut(),
        "host-left-out": HostLeftOut(),
        "clear-on-left-out": ClearOnLeftOut(),
    }
)
"""Each by the name that plays have it under; none of them remembers anything."""
